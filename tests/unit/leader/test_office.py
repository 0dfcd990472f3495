"""The office of the leader ends with its holder's lease."""

import asyncio
from contextlib import suppress

from vmha.fencing.power import PowerSwitch
from vmha.leader.leader import Leader
from vmha.model.clock import SystemClock
from vmha.model.ids import LeaseId, NodeName, SessionId
from vmha.model.keys import Keys
from vmha.store.memory import MemoryEtcd
from vmha.store.memory_store import MemoryStore
from vmha.store.mirror import Mirror

KEYS = Keys("c")


class LosesItsLease:
    """A session whose lease is found to be gone right after it was asked for."""

    def __init__(self, lease: LeaseId) -> None:
        self.id, self.began_at, self.over = SessionId("s1"), 0.0, asyncio.Event()
        self._left: list[LeaseId | None] = [lease]

    @property
    def lease(self) -> LeaseId | None:
        return self._left.pop() if self._left else None


async def test_office_that_is_taken_while_the_lease_is_being_lost_has_a_lease_all_the_same() -> None:
    """A leader key without one would never go away, and nobody would lead again."""
    etcd, clock = MemoryEtcd(), SystemClock()
    store = MemoryStore(etcd, "n1")
    mirror = Mirror(store, KEYS, clock)
    session = LosesItsLease((await store.grant(10)).id)
    leader = Leader(
        store=store,
        keys=KEYS,
        clock=clock,
        mirror=mirror,
        node=NodeName("n1"),
        power=PowerSwitch,  # type: ignore[arg-type]  # nothing is there to be powered off
        read_session=lambda: session,
        store_live_s=lambda: 100.0,
    )
    tasks = [asyncio.create_task(mirror.run()), asyncio.create_task(leader.run())]
    async with asyncio.timeout(60.0):
        while (office := etcd.get(KEYS.leader)) is None:  # noqa: ASYNC110 (the store tells nobody here)
            await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await store.close()
    assert office.lease
