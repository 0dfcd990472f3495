"""Where libvirt and QEMU look for certificates, on the host that has them: the three files of a node, ten times.

    /etc/pki/CA/cacert.pem                        whom libvirt trusts, at both ends
    /etc/pki/libvirt/server*.pem, client*.pem     libvirtd as it is spoken to, and as it speaks to another host's
    /etc/pki/qemu/ca-, server-, client-*.pem      QEMU, at both ends of a migration

A libvirtd that runs goes on with what it has read until it is told to read again (``RELOAD``); QEMU reads at each
migration. All files are written, or none.

libvirtd lets in whoever has a certificate of the authority it trusts, a reader of the cluster as well, and who is in
is root. That it is to be hosts alone stands in its own settings, which are the administrator's (``missing_list``).
"""

import grp
import re
from datetime import datetime
from pathlib import Path
from typing import Final

from vmha.model.errors import Refused, Rejected
from vmha.pki.authority import CA, CERT, KEY, write_file
from vmha.pki.certificates import Known, Pair, check_pair

_SETTINGS: Final = Path("etc/libvirt/libvirtd.conf")
_OF_THE_PROXY: Final = Path("etc/libvirt/virtproxyd.conf")
_PARTED: Final = Path("run/libvirt/virtqemud-sock")
"""Where each of libvirt's drivers has a daemon of its own, as libvirt's clients tell it; TLS is virtproxyd's there."""
RELOAD: Final = "virt-admin server-update-tls libvirtd"

_LAYOUT: Final = (
    # Whom to trust first, keys before certificates: who reads in between has what fits, or what he had.
    ("CA/cacert.pem", CA),
    ("libvirt/private/serverkey.pem", KEY),
    ("libvirt/private/clientkey.pem", KEY),
    ("libvirt/servercert.pem", CERT),
    ("libvirt/clientcert.pem", CERT),
    ("qemu/ca-cert.pem", CA),
    ("qemu/server-key.pem", KEY),
    ("qemu/client-key.pem", KEY),
    ("qemu/server-cert.pem", CERT),
    ("qemu/client-cert.pem", CERT),
)
_QEMU_GROUPS: Final = ("libvirt-qemu", "qemu")
"""What distributions have QEMU run as; its keys are readable to that group."""


def lay_out(folder: Path, *, root: Path, group: str | None, now: datetime) -> tuple[Known, str]:
    """Put the files of an issued folder below ``root``'s etc/pki.

    Args:
        group: may read QEMU's keys; None: the distribution's, where there is one.

    Returns:
        What the certificate says, and the group that may read QEMU's keys; '': root alone.

    Raises:
        Rejected: the folder's files do not fit each other, the certificate is not good now, or there is no such group.
        Refused: a file can not be written. Those before it are as they were.
    """
    content = {name: _read(folder / name) for name in (CA, CERT, KEY)}
    known = check_pair(Pair(cert=content[CERT], key=content[KEY]), content[CA], now=now, where=str(folder))
    if not known.addresses:
        raise Rejected(
            f"{folder}: the certificate names no address", accepted="one that vmha pki issue made for a node"
        )
    name, gid = _group(group)
    written: list[tuple[Path, bytes | None, int]] = []
    for place, source in _LAYOUT:
        path = root / "etc/pki" / place
        is_for_qemu = place.startswith("qemu/")
        mode = 0o644 if source != KEY else 0o640 if is_for_qemu and gid is not None else 0o600
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            old = (path.read_bytes(), path.stat().st_mode & 0o777) if path.exists() else (None, 0)
            write_file(path, content[source], mode=mode, gid=gid if source == KEY and is_for_qemu else None)
        except OSError as error:
            for undone, before, before_mode in reversed(written):
                if before is None:
                    undone.unlink(missing_ok=True)
                else:
                    write_file(undone, before, mode=before_mode)
            raise Refused(f"{path}: {error.strerror}; nothing was changed") from error
        written.append((path, *old))
    return known, name


def missing_list(known: Known, *, root: Path) -> str:
    """The line that libvirtd's settings lack for letting in this cluster's hosts alone; '': they have a list.

    Also '' for a certificate that is not called as the authority calls a node's: what others are called is not known.
    """
    try:
        settings = settings_of_tls(root).read_text(errors="replace")
    except OSError:
        settings = ""
    if says(settings, "tls_allowed_dn_list") is not None:
        return ""
    user = known.common_name
    hosts = next((user.removesuffix(name) for name in known.addresses if user.endswith(f"-node-{name}")), "")
    return f'tls_allowed_dn_list = ["CN={hosts}*"]' if hosts else ""


def settings_of_tls(root: Path) -> Path:
    """The file in which stands whom libvirt lets in by TLS on this host; it may not be there."""
    has_only_the_proxys = (root / _OF_THE_PROXY).exists() and not (root / _SETTINGS).exists()
    return root / (_OF_THE_PROXY if (root / _PARTED).exists() or has_only_the_proxys else _SETTINGS)


def says(settings: str, name: str) -> str | None:
    """What a file of libvirt's says of one setting: the rest of its line. None: nothing."""
    found = re.findall(rf"^[ \t]*{name}[ \t]*=[ \t]*(.*?)[ \t]*$", settings, re.MULTILINE)
    return found[-1] if found else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Rejected(
            f"{path}: {error.strerror}", accepted=f"a folder with {CA}, {CERT} and {KEY}, as vmha pki issue makes it"
        ) from error


def _group(name: str | None) -> tuple[str, int | None]:
    for each in _QEMU_GROUPS if name is None else (name,):
        try:
            return each, grp.getgrnam(each).gr_gid
        except KeyError:
            continue
    if name is not None:
        raise Rejected(f"--qemu-group: {name!r}", accepted="a group of this host, that QEMU runs as")
    return "", None
