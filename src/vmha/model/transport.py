"""The way of a migration to another host: by which URI the target's libvirtd is spoken to, and how memory goes.

    transport   to libvirtd                    a guest's memory                  when tunnelled
    tcp         in the clear                   in the clear, QEMU to QEMU        in the clear, through libvirtd
    tls         TLS by libvirt's certificates  TLS by QEMU's certificates        within libvirtd's TLS
    ssh         ssh, as root                   in the clear, QEMU to QEMU        within ssh

A node's ``migration_uri`` says how its migrations go; a vm may name another transport for its own. Nobody sits at the
terminal of an ssh that libvirtd starts: it must fail instead of asking.
"""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

ADDRESS = "{address}"
DEFAULT_URI = f"qemu+tcp://{ADDRESS}/system"
_NEVER_ASK = "no_tty"
_ACCEPTED = f"a URI such as qemu+tls://{ADDRESS}/system, with {ADDRESS} where the target's address goes"


class Transport(StrEnum):
    TCP = "tcp"
    TLS = "tls"
    SSH = "ssh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """``encrypts_memory``: by QEMU itself, between the two QEMUs."""

    target_uri: str
    data_uri: str
    is_tunnelled: bool
    encrypts_memory: bool


def route(address: str, *, node_uri: str, transport: Transport | None, is_tunnelled: bool) -> Route:
    """``transport`` counts before the node's URI, which may say more of the same transport: a user, a port, a key."""
    template = node_uri if transport in (None, transport_of(node_uri)) else f"qemu+{transport}://{ADDRESS}/system"
    host = f"[{address}]" if ":" in address else address
    return Route(
        target_uri=never_asking(template.replace(ADDRESS, host)),
        data_uri=f"tcp://{host}",
        is_tunnelled=is_tunnelled,
        encrypts_memory=transport_of(template) is Transport.TLS and not is_tunnelled,
    )


def transport_of(uri: str) -> Transport | None:
    """None: one that vmha has no word for. libvirt takes a URI with a host and without a transport for TLS."""
    match urlsplit(uri).scheme.partition("+")[2]:
        case "":
            return Transport.TLS
        case "ssh" | "libssh" | "libssh2":
            return Transport.SSH
        case word:
            return Transport(word) if word in set(Transport) else None


def check_template(uri: object) -> object:
    """Raises: ValueError naming what is accepted."""
    if isinstance(uri, str):
        parts = urlsplit(uri.replace(ADDRESS, "host"))
        if uri.count(ADDRESS) != 1 or not parts.scheme or parts.hostname != "host":
            raise ValueError(f"{uri!r} names no target (accepted: {_ACCEPTED})")
    return uri


def never_asking(uri: str) -> str:
    parts = urlsplit(uri)
    if not parts.scheme.endswith("+ssh"):
        return uri
    query = [(key, value) for key, value in parse_qsl(parts.query) if key != _NEVER_ASK]
    return urlunsplit(parts._replace(query=urlencode([*query, (_NEVER_ASK, "1")], safe="/")))
