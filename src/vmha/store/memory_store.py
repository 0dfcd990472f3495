"""One client of a ``MemoryEtcd``: the store port, with the waits and the lost answers of a network.

A request and its answer each take half of the client's delay. While the store cannot be reached a call waits, like a
client that tries again, and raises when its time is over: ``Unavailable`` for a read, and for a write when the whole
store is down (no connection, so surely not done); ``Ambiguous`` for any other write, because the client cannot know on
which way it was lost.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from vmha.model.errors import VmhaError
from vmha.model.ids import LeaseId, Revision
from vmha.model.store_health import MemberHealth, StoreHealth
from vmha.store.bell import wake
from vmha.store.memory import MemoryEtcd
from vmha.store.port import (
    Ambiguous,
    Batch,
    Compare,
    KeyValue,
    Lease,
    Listing,
    NoSpace,
    Op,
    TxnResult,
    Unavailable,
)

_T = TypeVar("_T")

QUOTA_BYTES = 2 << 30
"""As an etcd says that was told none."""


class MemoryStore:
    """``vmha.store.port.Store`` over a ``MemoryEtcd``."""

    def __init__(self, server: MemoryEtcd, client: str, *, watch_give_up_s: float = 10.0) -> None:
        """A client called ``client``: the name that the server's faults know it by.

        Args:
            server: The store.
            client: The name; several stores may share one, and then its fate.
            watch_give_up_s: How long a watch waits for a store that cannot be reached.
        """
        self._server = server
        self._client = client
        self._watch_give_up_s = watch_give_up_s
        self._closed = False

    @property
    def endpoint(self) -> str:
        return "memory"

    @property
    def cluster_id(self) -> str:
        return "memory"

    async def get(self, key: str, *, timeout_s: float = 5.0) -> KeyValue | None:
        return await self._read(lambda: self._server.get(key), timeout_s)

    async def list(self, prefix: str, *, without: str = "", timeout_s: float = 10.0) -> Listing:
        return await self._read(lambda: self._server.list(prefix, without), timeout_s)

    async def pages(self, prefix: str, *, without: str = "", timeout_s: float = 10.0) -> AsyncGenerator[Listing, None]:
        yield await self.list(prefix, without=without, timeout_s=timeout_s)

    async def txn(
        self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout_s: float = 3.0, idempotent: bool = False
    ) -> TxnResult:
        return await self._write(lambda: self._server.txn(compares, ops), timeout_s, repeatable=idempotent)

    async def grant(self, ttl_s: int, *, timeout_s: float = 3.0) -> Lease:
        return await self._write(lambda: self._server.grant(ttl_s), timeout_s, repeatable=True)

    async def keep_alive(self, lease: LeaseId, *, timeout_s: float = 1.5) -> int:
        return await self._read(lambda: self._server.renew(lease, client=self._client), timeout_s)

    async def revoke(self, lease: LeaseId, *, timeout_s: float = 3.0) -> None:
        await self._write(lambda: self._server.revoke(lease), timeout_s, repeatable=True)

    async def alarms(self, *, timeout_s: float = 3.0) -> tuple[str, ...]:
        return await self._read(lambda: ("NOSPACE",) if self._server.full else (), timeout_s)

    async def version(self, *, timeout_s: float = 3.0) -> str:
        return await self._read(lambda: self._server.version, timeout_s)

    async def health(self, *, timeout_s: float = 3.0) -> StoreHealth:
        alarms = await self.alarms(timeout_s=timeout_s)
        least_ttl_s = 0
        with suppress(NoSpace):
            lease = await self.grant(1, timeout_s=timeout_s)
            await self.revoke(lease.id, timeout_s=timeout_s)
            least_ttl_s = lease.ttl_s
        member = MemberHealth(
            endpoint=self.endpoint, version=self._server.version, is_leader=True, quota_bytes=QUOTA_BYTES
        )
        return StoreHealth(members=(member,), member_count=1, alarms=alarms, least_ttl_s=least_ttl_s)

    async def close(self) -> None:
        self._closed = True
        self._server.wake()

    async def watch(self, prefix: str, *, start_revision: Revision) -> AsyncGenerator[Batch, None]:
        server, loop = self._server, asyncio.get_running_loop()
        wanted = max(1, start_revision)
        while True:
            # Connecting, again after each time out of reach: only what was delivered counts as seen.
            if not await self._pass(loop.time() + self._watch_give_up_s, loop):
                raise Unavailable(f"no answer from etcd in memory to a watch for {self._watch_give_up_s:.1f} s")
            line = server.open_watch(self._client, prefix, wanted)
            try:
                while not line.is_over:
                    batch = line.read()
                    if batch is None:
                        await line.wait()
                        self._check_open()
                        continue
                    wanted = batch.revision + 1
                    yield batch
            finally:
                server.close_watch(line)

    async def _read(self, serve: Callable[[], _T], timeout_s: float) -> _T:
        loop = asyncio.get_running_loop()
        end_at_s = loop.time() + timeout_s
        if await self._pass(end_at_s, loop):
            outcome = _outcome(serve)
            if await self._pass(end_at_s, loop):
                return outcome()
        raise Unavailable(f"no answer from etcd in memory within {timeout_s:.1f} s")

    async def _write(self, serve: Callable[[], _T], timeout_s: float, *, repeatable: bool) -> _T:
        loop = asyncio.get_running_loop()
        end_at_s = loop.time() + timeout_s
        unclear = False
        while await self._pass(end_at_s, loop):
            lost = self._server.take_lost_answer(self._client)
            if lost is None:
                outcome = _outcome(serve)
                if await self._pass(end_at_s, loop):
                    return outcome()
            elif lost:
                _outcome(serve)
            unclear = True
            if not repeatable:
                break
        if unclear or self._server.is_running:
            raise Ambiguous(f"no clear answer from etcd in memory within {timeout_s:.1f} s: it may or may not be done")
        raise Unavailable(f"no answer from etcd in memory within {timeout_s:.1f} s")

    async def _pass(self, end_at_s: float, loop: asyncio.AbstractEventLoop) -> bool:
        """One way between client and store; False when the deadline came first."""
        server = self._server
        arrives: asyncio.Future[None] = loop.create_future()
        loop.call_later(max(0.0, min(server.delay_s(self._client) / 2, end_at_s - loop.time())), wake, arrives)
        await arrives
        while not server.is_reachable_by(self._client):
            self._check_open()
            if loop.time() >= end_at_s:
                return False
            await server.reachable_again(end_at_s)
        self._check_open()
        return loop.time() < end_at_s

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the connection to etcd in memory is closed")


def _outcome(serve: Callable[[], _T]) -> Callable[[], _T]:
    """Serves now; the result, or the refusal, is there for whoever hears the answer."""
    try:
        result = serve()
    except VmhaError as error:
        refusal = error
    else:
        return lambda: result

    def refuse() -> _T:
        raise refusal

    return refuse
