"""Tries the way from this node to the servers of guests' disks, for a check-up: each once, however many vms need it."""

import asyncio
from collections.abc import Mapping

from vmha.hypervisor.ways import Ways
from vmha.model.checkup import Unserved
from vmha.model.domain_needs import NetworkDisk, Server

TRY_TIMEOUT_S = 3.0
"""A greeting that was lost on the way is sent again after one second, and after two more."""
AT_ONCE = 100
NAMED_AT_MOST = 20


async def find_unserved(ways: Ways, disks: Mapping[str, tuple[NetworkDisk, ...]]) -> tuple[Unserved, ...]:
    """The servers that do not answer, those first without which a vm can not run. ``disks``: by vm."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(server: Server) -> str:
        why = ""
        for port in server.ports:
            async with gate:
                if not (why := await ways.try_server(server.host, port, timeout_s=TRY_TIMEOUT_S)):
                    return ""
        return why

    needed: dict[Server, dict[str, list[NetworkDisk]]] = {}
    for vm, its in sorted(disks.items()):
        for disk in its:
            for server in disk.servers:
                needed.setdefault(server, {}).setdefault(vm, []).append(disk)
    said = await asyncio.gather(*(one(server) for server in needed))
    why = {server: words for server, words in zip(needed, said, strict=True) if words}
    found = [_unserved(server, why, needed[server]) for server in why]
    return tuple(sorted(found, key=lambda one: (one.is_spared, one.server)))


def _unserved(server: Server, why: Mapping[Server, str], needed: Mapping[str, list[NetworkDisk]]) -> Unserved:
    without = [vm for vm, its in needed.items() if any(all(other in why for other in disk.servers) for disk in its)]
    vms = without or list(needed)
    return Unserved(
        server=str(server),
        protocol=next(disk.protocol for its in needed.values() for disk in its),
        why=why[server],
        vms=tuple(vms[:NAMED_AT_MOST]),
        more=max(0, len(vms) - NAMED_AT_MOST),
        is_spared=not without,
    )
