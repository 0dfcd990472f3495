"""A large cluster whose leader is the product, on a real etcd, and whose agents are only played.

One process follows the cluster once, and writes for each node what its agent would: beats, claims, hand-overs,
releases and observations, a transaction each, at once, with no hypervisor behind it. What leader and etcd do is what
they would do for a cluster of that size; what agents do for themselves, and how long guests take, is not in it. Nodes
that are lost fall silent, and their sessions end with their leases; there is no power switch.
"""

import asyncio
import resource
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from tests.support.etcd import RealEtcd

from bench.scale_cluster import AT_ONCE, KEYS, Cluster
from bench.scale_company import Company
from bench.scale_fill import LEAD, filling
from bench.world import GROUP, node_name, node_records
from vmha.model.clock import SystemClock
from vmha.model.ids import NodeName, Revision, VmName
from vmha.model.keys import decode, encode
from vmha.model.records import Observation, Phase, Placement, RunEnd, SeenState
from vmha.model.settings import ClusterConfig
from vmha.policy.state import transitions
from vmha.store.etcd import EtcdStore
from vmha.store.port import Change, Delete, Modified, Op, Put

TIMING = ClusterConfig().clockwork
WRITES_AT_ONCE = 64


class Players:
    """The agents of all nodes but the leader's."""

    def __init__(self, store: EtcdStore, nodes: int) -> None:
        self._store, self._clock = store, SystemClock()
        self.alive = {node_name(number): node_records(node_name(number))[2] for number in range(nodes)}
        self._gate = asyncio.Semaphore(WRITES_AT_ONCE)
        self._writing: set[asyncio.Task[None]] = set()

    async def beat(self) -> None:
        count = 7
        while True:
            count += 1
            ops: list[Op] = [
                Put(KEYS.beat(name), encode(replace(beat, count=count))) for name, beat in sorted(self.alive.items())
            ]
            for start in range(0, len(ops), AT_ONCE):
                await self._store.txn([], ops[start : start + AT_ONCE], timeout_s=10.0, idempotent=True)
            await asyncio.sleep(TIMING.beat_s)

    async def play(self, after: Revision) -> None:
        async for batch in self._store.watch(f"{KEYS.prefix}vms/", start_revision=Revision(after + 1)):
            for change in batch.changes:
                if change.kv is not None and change.key.endswith("/placement"):
                    task = asyncio.create_task(self._answer(change), name=change.key)
                    self._writing.add(task)
                    task.add_done_callback(self._writing.discard)

    async def _answer(self, change: Change) -> None:
        """As the agent of the node that the placement names: all that is asked of it succeeds at once."""
        assert change.kv
        old = decode(Placement, change.kv.value, where=change.key)
        if old.node not in self.alive:
            return
        new, wall = old, self._clock.wall()
        ops: list[Op] = []
        if new.phase is Phase.MIGRATING:
            ops.append(Delete(KEYS.observation(old.node, VmName(old.vm))))
            new = transitions.hand_over(new, wall)
        elif new.phase is Phase.STOPPING:
            ops.append(Delete(KEYS.observation(old.node, VmName(old.vm))))
            new = transitions.release(new, RunEnd.ASKED, "as asked", wall)
        if new.phase is Phase.ASSIGNED and new.node in self.alive:
            session = self.alive[new.node].session
            new = transitions.claim(new, session, wall)
            seen = Observation(
                vm=new.vm, node=new.node, session=session, state=SeenState.RUNNING, epoch=new.epoch, since=wall
            )
            ops.append(Put(KEYS.observation(new.node, new.vm), encode(seen)))
        if new is old:
            return
        async with self._gate:  # a lost compare: the record has changed, and its change comes by here
            await self._store.txn([Modified(change.key, change.kv.mod_revision)], [Put(change.key, encode(new)), *ops])

    async def lose(self, names: Sequence[NodeName]) -> None:
        for name in names:
            del self.alive[name]
        await asyncio.sleep(TIMING.lease_ttl_s)
        await self._store.txn([], [Delete(KEYS.session(name)) for name in names])


class PlayedAgents(Cluster):
    """``nodes``: those that are played."""

    def __init__(self, etcd: RealEtcd, nodes: int) -> None:
        super().__init__(etcd)
        self.nodes = [node_name(number) for number in range(nodes)]
        self.groups = [[*self.nodes[at : at + GROUP]] for at in range(0, nodes, GROUP)]
        self.players = Players(self.store, nodes)
        self.leader = Company([LEAD])

    async def begin(self, vms: int, *, stalls: bool = False) -> None:
        """All of it is in the store, all nodes beat, and nobody leads."""
        await self.write(filling(vms, len(self.nodes), is_cold=True, lead_runs_vms=False))
        now = (await self.store.list(self.keys.leader)).revision
        self.follow(Revision(now + 1))
        self.beside(self.players.beat(), "beats")
        self.beside(self.players.play(now), "players")
        await self.leader.begin(self.etcd.endpoints, self.keys.cluster, self.folder, stalls=stalls)

    async def start_vms(self, count: int) -> None:
        """They are defined already, and wanted running: the leader begins."""
        self.vms = [f"vm-{number:05d}" for number in range(count)]
        await self.leader.do("start", nodes=[LEAD])

    async def lose(self, names: Sequence[str]) -> float:
        self.lost |= set(names)
        at = self.clock.now()
        await self.players.lose([NodeName(name) for name in names])
        return at

    async def look(self) -> list[dict[str, Any]]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        own = {"cpu_s": used.ru_utime + used.ru_stime, "sessions": {}, "crashes": []}
        return [await self.leader.do("look"), own]

    async def violations(self) -> None:
        return None

    async def close(self) -> None:
        await self.leader.end()
        await super().close()


@asynccontextmanager
async def played_agents(etcd: RealEtcd, nodes: int, vms: int, *, stalls: bool = False) -> AsyncIterator[PlayedAgents]:
    cluster = PlayedAgents(etcd, nodes)
    try:
        await cluster.begin(vms, stalls=stalls)
        yield cluster
    finally:
        await cluster.close()
