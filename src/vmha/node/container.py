"""A node in a container, with libvirt and QEMU inside: its files, made from its environment, and its health.

``python -m vmha.node.container prepare`` writes them before anything else runs there (agents/container/init);
``health`` answers the container engine. A settings file that is mounted from outside is taken as it is. Otherwise each
setting of ``/etc/vmha/vmha.toml`` is ``VMHA_`` and its name in capitals, lists separated by commas; what is not named
is as in that file, except that there is no watchdog: in a container ``/dev/watchdog`` is the whole machine's.
"""

import asyncio
import difflib
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from vmha.fencing.deadline import State
from vmha.fencing.guard_client import GuardClient
from vmha.fencing.port import GuardUnavailable, Level
from vmha.hypervisor.boxed import libvirtd_conf, qemu_conf
from vmha.model.errors import Rejected
from vmha.node.settings import DEFAULT_PATH, NodeSettings, TlsSettings, read_settings

_PREFIX = "VMHA_"
_LISTS = frozenset({"endpoints"})
_TLS = tuple(TlsSettings.model_fields)
_OTHERS = frozenset({"config", "lab"})
"""Variables of the command line that are no settings of a node."""


def settings_from(environ: Mapping[str, str], host_name: str) -> dict[str, Any]:
    """The settings file, as its values. What they are worth is for ``read_settings`` to say.

    Raises:
        Rejected: a variable names no setting, or the one that must be given is missing.
    """
    known = {*NodeSettings.model_fields, *_TLS} - {"tls"}
    found: dict[str, Any] = {
        "cluster": NodeSettings.model_fields["cluster"].default,
        "node": host_name.split(".", maxsplit=1)[0],
        "watchdog": "",
    }
    tls: dict[str, str] = {}
    for variable, value in sorted(environ.items()):
        name = variable.removeprefix(_PREFIX).lower()
        if not variable.startswith(_PREFIX) or name in _OTHERS:
            continue
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            guess = f", did you mean {_PREFIX}{near[0].upper()}?" if near else ""
            accepted = ", ".join(f"{_PREFIX}{each.upper()}" for each in sorted(known))
            raise Rejected(f"{variable} names no setting of a node{guess}", accepted=accepted)
        if name in _TLS:
            tls[name] = value
        elif name in _LISTS:
            found[name] = [part.strip() for part in value.split(",") if part.strip()]
        else:
            found[name] = value
    if not found.get("endpoints"):
        raise Rejected(f"{_PREFIX}ENDPOINTS is not set", accepted="etcd's members: host:2379,host:2379,host:2379")
    return found | ({"tls": tls} if tls else {})


def to_toml(values: Mapping[str, Any]) -> str:
    """Texts, lists of texts, and tables of texts, which come last. A JSON string is a TOML string."""
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for name, table in values.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{name}]", to_toml(table).rstrip("\n")]
    return "\n".join(lines) + "\n"


def prepare(environ: Mapping[str, str], *, host_name: str, root: Path = Path("/")) -> NodeSettings:
    """Write what the container's programs read. Returns the settings that they will find.

    Raises:
        Rejected: the settings are none; the message names the variable or the file.
    """
    path = _below(root, Path(environ.get("VMHA_CONFIG") or DEFAULT_PATH))
    if not path.exists():
        text = to_toml(settings_from(environ, host_name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Made from the container's environment.\n{text}")
    settings = read_settings(path)
    machine_id = _lasting_id(_below(root, settings.state_dir) / "machine-id")
    (root / "etc/machine-id").write_text(f"{machine_id}\n")
    libvirt = root / "etc/libvirt"
    libvirt.mkdir(parents=True, exist_ok=True)
    (libvirt / "libvirtd.conf").write_text(libvirtd_conf(_as_uuid(machine_id)))
    (libvirt / "qemu.conf").write_text(qemu_conf("0.0.0.0"))
    if settings.peers_secret_file is not None:
        _share_secret(_below(root, settings.peers_secret_file))
    return settings


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _lasting_id(path: Path) -> str:
    """This node's own, on the volume that outlives the container: one that is made anew is the same host, and no two
    nodes of one image are.
    """
    return _made_once(path, lambda: os.urandom(16).hex())


def _as_uuid(machine_id: str) -> str:
    at = (0, 8, 12, 16, 20, 32)
    return "-".join(machine_id[start:end] for start, end in pairwise(at))


def _share_secret(path: Path) -> None:
    """On a volume that all nodes mount, the first makes it for all."""
    _made_once(path, lambda: os.urandom(32).hex())


def _made_once(path: Path, make: Callable[[], str]) -> str:
    """What the file holds; when there is none it is made, and if two do so at once, both get the same one."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        own = path.with_name(f"{path.name}.{os.urandom(4).hex()}")
        own.touch(mode=0o600)
        own.write_text(f"{make()}\n")
        try:
            os.link(own, path)
        except FileExistsError:
            pass  # another node's came first: that one counts
        finally:
            own.unlink()
    return path.read_text().strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    is_good: bool
    words: str


async def health(settings: NodeSettings) -> Health:
    """Whether vms may run here: an armed guard that promises something, which it does only while beats commit."""
    try:
        status = await GuardClient(settings.guard_socket).status(timeout_s=2.0)
    except GuardUnavailable as error:
        return Health(is_good=False, words=str(error))
    is_good = status.state is State.ARMED and status.level is not Level.NONE
    return Health(is_good=is_good, words=f"session {status.session or 'none'}: {status.state}, level {status.level}")


def main() -> int:
    try:
        match sys.argv[1:]:
            case ["prepare"]:
                prepare(os.environ, host_name=socket.gethostname())
                return 0
            case ["health"]:
                found = asyncio.run(health(read_settings(Path(os.environ.get("VMHA_CONFIG") or DEFAULT_PATH))))
                print(found.words)
                return 0 if found.is_good else 1
    except (Rejected, OSError) as error:
        print(f"vmha: {error}", file=sys.stderr)
        return 2
    print("usage: python -m vmha.node.container prepare|health", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
