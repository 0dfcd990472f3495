"""Whom libvirtd lets in by TLS: those whose names its settings list, or whoever has a certificate of its authority.

Who is in is root of the host. The settings are read in the root of the first process: libvirtd runs there, and an agent
in a container of its own has another ``/etc``.
"""

from collections.abc import Sequence
from pathlib import Path

from vmha.pki.libvirt_layout import says, settings_of_tls

ROOTS = (Path("/proc/1/root"), Path("/"))


def read_whom_tls_lets_in(roots: Sequence[Path] = ROOTS) -> str:
    """'': a list of names, or nobody here can know. Else why there is none; the first of ``roots`` may be barred."""
    for root in roots:
        try:
            path = settings_of_tls(root)
            text = path.read_text(errors="replace") if path.exists() else ""
        except OSError:
            continue
        told = Path("/") / path.relative_to(root)
        if says(text, "tls_no_verify_certificate") not in (None, "0"):
            return f"tls_no_verify_certificate in {told}"
        return f"no tls_allowed_dn_list in {told}" if says(text, "tls_allowed_dn_list") is None else ""
    return ""
