"""Bridges and cables of the lab, by iproute2 batches inside the lab's own network namespace.

Two bridges with fixed MAC addresses: a bridge otherwise takes the lowest address of its ports, so that powering one
host off or on changes it and every other host keeps talking to a stale neighbour for up to 35 s.
Cables are removed by name when a machine goes off: the kernel tears a dead network namespace down some time later,
and until then a new cable of the same name would collide with the old one.
"""

import asyncio
from collections.abc import Iterable

from vmha.lab.layout import (
    LAN_BRIDGE,
    STORAGE_ADDRESS,
    STORAGE_BRIDGE,
    SWITCH_ADDRESS,
    Link,
    NodeSpec,
)
from vmha.model.errors import Retryable

_BRIDGES = {Link.LAN: LAN_BRIDGE, Link.STORAGE: STORAGE_BRIDGE}
_DEVICES = {Link.LAN: "eth0", Link.STORAGE: "eth1"}
_IP_TIMEOUT_S = 20.0


class NetworkError(Retryable):
    """iproute2 refused a command."""


async def run_ip(lines: Iterable[str], *, ignore_errors: bool = False) -> None:
    """Run ``ip`` commands in one process, in order. With ``ignore_errors`` a failing line does not stop the next."""
    arguments = ["-force"] if ignore_errors else []
    process = await asyncio.create_subprocess_exec(
        "ip",
        *arguments,
        "-batch",
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    batch = "".join(f"{line}\n" for line in lines)
    async with asyncio.timeout(_IP_TIMEOUT_S):
        _, errors = await process.communicate(batch.encode())
    if process.returncode and not ignore_errors:
        raise NetworkError(f"ip: {errors.decode(errors='replace').strip()}")


async def build_bridges() -> None:
    lines = ["link set lo up"]
    for link, address in ((Link.LAN, SWITCH_ADDRESS), (Link.STORAGE, STORAGE_ADDRESS)):
        bridge = _BRIDGES[link]
        mac = f"02:00:0a:61:{0 if link is Link.LAN else 1:02x}:fe"
        lines += [
            f"link add {bridge} address {mac} type bridge",
            f"addr add {address}/24 dev {bridge}",
            f"link set {bridge} up",
        ]
    await run_ip(lines)


async def plug(node: NodeSpec, pid: int, cut: Iterable[Link]) -> None:
    """Connect the network namespace of ``pid`` to the bridges; links in ``cut`` stay down."""
    cut = frozenset(cut)
    lines = []
    for link in node.links:
        cable = node.cable(link)
        lines.append(f"link add {cable} type veth peer name {_DEVICES[link]} address {node.mac(link)} netns {pid}")
        lines.append(f"link set {cable} master {_BRIDGES[link]} {'down' if link in cut else 'up'}")
    await run_ip(lines)


async def unplug(node: NodeSpec) -> None:
    """Take the cables away; those that are gone already do not matter."""
    await run_ip((f"link del {node.cable(link)}" for link in node.links), ignore_errors=True)


async def set_link(node: NodeSpec, link: Link, *, up: bool) -> None:
    await run_ip([f"link set {node.cable(link)} {'up' if up else 'down'}"])
