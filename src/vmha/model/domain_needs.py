"""What a definition needs of the host that runs it: files and devices, servers of its disks, a machine type.

For a check-up, which tells what is missing before a guest has to start there. Of a definition that can not be read
nothing is known to be needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree.ElementTree import Element

from vmha.model.domain_xml import read_root
from vmha.model.errors import Rejected

_PORTS = {
    "nbd": (10809,),
    "rbd": (3300, 6789),  # Ceph's two protocols of its monitors; a client takes the one that answers
    "iscsi": (3260,),
    "gluster": (24007,),
    "sheepdog": (7000,),
    "nfs": (2049,),
    "ssh": (22,),
    "http": (80,),
    "https": (443,),
    "ftp": (21,),
    "ftps": (990,),
    "vxhs": (9999,),
}
"""By libvirt's word for the protocol: where QEMU's client goes when the definition names no port. All are by TCP."""


class Server(NamedTuple):
    """One of several ``ports`` is enough."""

    host: str
    ports: tuple[int, ...]

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{' or '.join(str(port) for port in self.ports)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkDisk:
    """``servers``: one of them is enough (Ceph's monitors, a volume's servers in Gluster)."""

    protocol: str
    servers: tuple[Server, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """``paths``: files, devices and sockets. ``machine``: '' when that is left to QEMU."""

    machine: str = ""
    paths: tuple[str, ...] = ()
    disks: tuple[NetworkDisk, ...] = ()


def needs_of(xml: str) -> Needs:
    try:
        root = read_root(xml) if xml else None
    except Rejected:
        return Needs()
    if root is None:
        return Needs()
    kind = root.find("os/type")
    files = (source.get("file") or source.get("dev") for source in root.iterfind("devices/disk/source"))
    served = list(_served(root))
    sockets = (host.get("socket") for source in served for host in source.iterfind("host"))
    return Needs(
        machine="" if kind is None else kind.get("machine", ""),
        paths=tuple(path for path in (*files, *sockets) if path),
        disks=tuple(disk for source in served if (disk := _disk(source)).servers),
    )


def _served(root: Element) -> Iterator[Element]:
    """The layers beneath a disk too: a guest does not start without its base image."""
    devices = root.find("devices")
    for device in () if devices is None else devices:
        if device.tag in ("disk", "hostdev"):
            yield from (source for source in device.iter("source") if source.get("protocol"))


def _disk(source: Element) -> NetworkDisk:
    protocol = source.get("protocol", "")
    servers = (_server(protocol, host) for host in source.iterfind("host"))
    return NetworkDisk(protocol=protocol, servers=tuple(dict.fromkeys(one for one in servers if one)))


def _server(protocol: str, host: Element) -> Server | None:
    """None: it is not spoken to by TCP, or not in a way that is known here."""
    name, port = host.get("name", "").strip("[]"), host.get("port", "")
    if not name or host.get("transport", "tcp") != "tcp" or protocol not in _PORTS:
        return None
    if not port:
        return Server(name, _PORTS[protocol])
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536
    return Server(name, (int(port),)) if is_port else None
