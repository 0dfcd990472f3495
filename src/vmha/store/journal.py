"""Journal entries: made here, written in the same transaction as the change they tell of, gone after some days."""

import asyncio
import itertools
from collections.abc import Callable

from vmha.model.clock import Clock
from vmha.model.ids import CauseId, LeaseId, NodeName, VmName
from vmha.model.keys import Keys, encode
from vmha.model.records import Hand, JournalEntry, Reason
from vmha.store.port import Put, Store

DAY_S = 86400
LEASE_SERVES_S = 6 * 3600


class Journal:
    """One writer's entries. Keys sort by time; a lease shared by some hours of entries lets them expire."""

    def __init__(self, store: Store, keys: Keys, clock: Clock, by: NodeName, *, days: Callable[[], int]) -> None:
        self._store, self._keys, self._clock, self._by, self._days = store, keys, clock, by, days
        self._count = itertools.count(1)
        self._lease = LeaseId(0)
        self._lease_until = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def refresh(self) -> None:
        """Make sure that entries made from now on expire. Call before ``entry``; cheap when nothing is due."""
        async with self._one_at_a_time:
            await self._renew()

    def forget_lease(self) -> None:
        """The store does not know it (any more): the next entries get another."""
        self._lease_until = 0.0

    async def _renew(self) -> None:
        if self._clock.now() >= self._lease_until:
            self._lease = await self._granted(self._days() * DAY_S + LEASE_SERVES_S)
            self._lease_until = self._clock.now() + LEASE_SERVES_S

    async def _granted(self, ttl_s: int) -> LeaseId:
        return (await self._store.grant(ttl_s)).id

    def entry(
        self,
        kind: str,
        text: str,
        *,
        vm: VmName | None = None,
        node: NodeName | None = None,
        cause: CauseId = CauseId(""),
        reason: Reason | None = None,
        ago_s: float = 0.0,
        hand: Hand | None = None,
        beside: str = "",
    ) -> Put:
        """``ago_s``: for how long what it tells of had been so. ``beside``: the id of one of the same transaction."""
        wall = self._clock.wall()
        name = f"{beside or f'{int(wall * 1000):014d}-{self._by}'}-{next(self._count):06d}"
        record = JournalEntry(
            id=name,
            at=wall,
            by=self._by,
            kind=kind,
            text=text,
            vm=vm,
            node=node,
            cause=cause,
            reason=reason,
            since=wall - ago_s if ago_s else 0.0,
            hand=hand,
        )
        return Put(self._keys.journal(name), encode(record), self._lease)
