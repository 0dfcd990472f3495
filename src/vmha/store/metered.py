"""A store whose calls are timed, for whoever watches over it. It changes nothing of what it passes on.

A call that was given up by its caller is not counted: it says nothing about the store. Watches are not timed: they are
meant to be silent.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from vmha.model.clock import Clock
from vmha.model.errors import Retryable, VmhaError
from vmha.model.histogram import CALL_S, Histogram
from vmha.model.ids import LeaseId, Revision
from vmha.model.store_health import StoreHealth
from vmha.store.port import Batch, Compare, KeyValue, Lease, Listing, Op, Store, TxnResult

CALLS: Final = ("get", "list", "txn", "grant", "keep_alive", "revoke", "maintenance")
"""Kinds of calls. ``maintenance``: alarms, version, health."""


class Metered:
    """``took``: of answered calls, by kind. ``unanswered``: calls that no member answered (clearly)."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self.took = {call: Histogram(CALL_S) for call in CALLS}
        self.unanswered = dict.fromkeys(CALLS, 0)

    @contextmanager
    def _timed(self, call: str) -> Iterator[None]:
        """A refusal is an answer too; what may be tried again (no answer, no space) is none."""
        began = self._clock.now()
        try:
            yield
        except Retryable:
            self.unanswered[call] += 1
            raise
        except VmhaError:
            self.took[call].note(self._clock.now() - began)
            raise
        self.took[call].note(self._clock.now() - began)

    @property
    def endpoint(self) -> str:
        return self._store.endpoint

    @property
    def cluster_id(self) -> str:
        return self._store.cluster_id

    async def get(self, key: str, *, timeout_s: float = 5.0) -> KeyValue | None:
        with self._timed("get"):
            return await self._store.get(key, timeout_s=timeout_s)

    async def list(self, prefix: str, *, without: str = "", timeout_s: float = 10.0) -> Listing:
        with self._timed("list"):
            return await self._store.list(prefix, without=without, timeout_s=timeout_s)

    def pages(self, prefix: str, *, without: str = "", timeout_s: float = 10.0) -> AsyncGenerator[Listing, None]:
        return self._store.pages(prefix, without=without, timeout_s=timeout_s)

    async def txn(
        self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout_s: float = 3.0, idempotent: bool = False
    ) -> TxnResult:
        with self._timed("txn"):
            return await self._store.txn(compares, ops, timeout_s=timeout_s, idempotent=idempotent)

    def watch(self, prefix: str, *, start_revision: Revision) -> AsyncIterator[Batch]:
        return self._store.watch(prefix, start_revision=start_revision)

    async def grant(self, ttl_s: int, *, timeout_s: float = 3.0) -> Lease:
        with self._timed("grant"):
            return await self._store.grant(ttl_s, timeout_s=timeout_s)

    async def keep_alive(self, lease: LeaseId, *, timeout_s: float = 1.5) -> int:
        with self._timed("keep_alive"):
            return await self._store.keep_alive(lease, timeout_s=timeout_s)

    async def revoke(self, lease: LeaseId, *, timeout_s: float = 3.0) -> None:
        with self._timed("revoke"):
            await self._store.revoke(lease, timeout_s=timeout_s)

    async def alarms(self, *, timeout_s: float = 3.0) -> tuple[str, ...]:
        with self._timed("maintenance"):
            return await self._store.alarms(timeout_s=timeout_s)

    async def version(self, *, timeout_s: float = 3.0) -> str:
        with self._timed("maintenance"):
            return await self._store.version(timeout_s=timeout_s)

    async def health(self, *, timeout_s: float = 3.0) -> StoreHealth:
        with self._timed("maintenance"):
            return await self._store.health(timeout_s=timeout_s)

    async def close(self) -> None:
        await self._store.close()
