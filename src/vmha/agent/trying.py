"""Tries the ways from this node to the others, for a check-up: to their libvirtds, and to where memory would come in.

Each different way once, whichever vms would go by it; so many at once that a large cluster is not flooded.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vmha.hypervisor.ways import Ways
from vmha.model.checkup import Barred, Door
from vmha.model.ids import NodeName
from vmha.model.transport import Transport, transport_of
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.ways import Way, ways_from

REACH_TIMEOUT_S = 8.0
KNOCK_TIMEOUT_S = 4.0
AT_ONCE = 8
KNOCKS_AT_ONCE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """See ``CheckupAnswer``."""

    reached: tuple[NodeName, ...]
    unreached: dict[NodeName, str]
    barred: tuple[Barred, ...]
    by_tls: tuple[NodeName, ...]


class Trying:
    def __init__(self, ways: Ways, *, migration_uri: str, read_snapshot: Callable[[], Snapshot]) -> None:
        self._ways, self._uri, self._read_snapshot = ways, migration_uri, read_snapshot

    async def reach_all(self, me: NodeName) -> Reached:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(way: Way) -> str:
            async with gate:
                return await self._ways.try_reach(way.route.target_uri, timeout_s=REACH_TIMEOUT_S)

        own: dict[NodeName, str] = {}
        tries: dict[tuple[NodeName, str], list[Way]] = {}
        for name, address, ways in ways_from(me, self._read_snapshot(), node_uri=self._uri):
            if not address:
                own[name] = "it says no address to migrate to"
            for way in ways:  # tunnelled or not: to the same libvirtd
                tries.setdefault((name, way.route.target_uri), []).append(way)
            await asyncio.sleep(0)
        said = await asyncio.gather(*(one(ways[0]) for ways in tries.values()))
        barred = []
        for (name, uri), why in zip(tries, said, strict=True):
            ways = tries[name, uri]
            vms = tuple(vm for way in ways for vm in way.vms)
            if name not in own:  # the node's own way comes first
                own[name] = why
            elif why:
                barred.append(Barred(to=name, transport=str(transport_of(uri)), vms=vms, why=why))
        return Reached(
            reached=tuple(name for name, why in own.items() if not why),
            unreached={name: why for name, why in own.items() if why},
            barred=tuple(barred),
            by_tls=tuple(sorted({name for name, uri in tries if transport_of(uri) is Transport.TLS})),
        )

    async def knock_at_all(
        self, me: NodeName, doors: Mapping[NodeName, Door]
    ) -> tuple[dict[NodeName, str], dict[NodeName, str]]:
        """Where a guest's memory would not come in, and where it would, but not encrypted; and why.

        Nobody knocks where all vms would go within libvirtd's own connection.
        """
        gate = asyncio.Semaphore(KNOCKS_AT_ONCE)

        async def knock(address: str, door: Door, *, encrypted: bool) -> str:
            async with gate:
                return await self._ways.try_door(address, door, encrypted=encrypted, timeout_s=KNOCK_TIMEOUT_S)

        async def one(address: str, door: Door, *, wants_encrypted: bool) -> tuple[str, str]:
            if shut := await knock(address, door, encrypted=False):
                return shut, ""
            return "", await knock(address, door, encrypted=True) if wants_encrypted else ""

        asked = {}
        for name, address, ways in ways_from(me, self._read_snapshot(), node_uri=self._uri):
            used = [way.route for way in ways if way.vms] or [way.route for way in ways]
            beside = [route for route in used if not route.is_tunnelled]
            if name in doors and beside:
                encrypted = any(route.encrypts_memory for route in beside)
                asked[name] = one(address, doors[name], wants_encrypted=encrypted)
            await asyncio.sleep(0)
        said = dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))
        shut = {name: why for name, (why, _) in said.items() if why}
        return shut, {name: why for name, (_, why) in said.items() if why}
