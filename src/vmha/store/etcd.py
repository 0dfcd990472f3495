"""The store port over a real etcd cluster.

Every call has a total deadline and returns or raises within it, whatever the members do: nobody listening, a process
that is stopped, a socket that accepts and says nothing. Reads, and writes that may be repeated, go to the next member
too when one was silent for ``attempt_s``; an answer counts until the deadline, so that a store that is merely slow is
not given up (``asking``). Any other write is sent once, and again only when it surely was not proposed.

Reads are linearizable; a listing is paged at one revision. What no client can mend: etcd before 3.4.42, 3.5.28 and
3.6.9 may answer a linearizable read with old data after its leader was paused. Decisions that matter are therefore
committed by transactions that compare what they read.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import Final

from vmha.model.ids import LeaseId, Revision
from vmha.model.permissions import PROBE_KEY
from vmha.model.store_health import LONG_HISTORY, StoreHealth
from vmha.store import wire
from vmha.store.asking import SHORTEST_ATTEMPT_S, Req, Res, Sending, ask_around
from vmha.store.channels import Login, Member, Ring
from vmha.store.convert import encode_key, key_value, prefix_end, to_compare, to_op
from vmha.store.health import ask_each
from vmha.store.port import (
    Batch,
    Compacted,
    Compare,
    Denied,
    KeyValue,
    Lease,
    LeaseGone,
    Listing,
    NoSpace,
    Op,
    TxnResult,
    Unavailable,
)
from vmha.store.renewal import Renewals
from vmha.store.tls_files import TlsFiles
from vmha.store.watching import watch

_PAGE: Final = 500
"""Keys of the first page: how large they are shows then."""
_MOST_IN_PAGE: Final = 2000
_BYTES_IN_PAGE: Final = 2 << 20
_PROBE_KEY: Final = encode_key(PROBE_KEY)
_ALARMS: Final = {1: "NOSPACE", 2: "CORRUPT"}


class EtcdStore:
    """``vmha.store.port.Store`` over etcd. One object serves all tasks of one event loop."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: TlsFiles | None = None,
        login: Login | None = None,
        attempt_s: float = 1.0,
        first: int = 0,
        watch_give_up_s: float = 10.0,
        long_history: int = LONG_HISTORY,
    ) -> None:
        """Reads endpoints and TLS files; connects on first use.

        Args:
            endpoints: ``host:port``, ``http://host:port``, ``https://host:port`` or ``unix:/path/to/socket``.
            tls: The authority, and this client's certificate and key.
            login: User and password, where certificates do not say who this is.
            attempt_s: How long one member is silent before the next one is asked, too.
            first: Which endpoint to begin with, counted round the list.
            watch_give_up_s: How long a watch looks for a member that answers.
            long_history: History of so many revisions says that nothing compacts it.

        Raises:
            Rejected: no endpoint, a malformed one, or TLS files that cannot be read.
        """
        self._ring = Ring(endpoints, tls=tls, login=login, first=first)
        self._attempt_s = attempt_s
        self._watch_give_up_s = watch_give_up_s
        self._long_history = long_history
        self._renewals = Renewals(self._ring, attempt_s=attempt_s)

    @property
    def endpoint(self) -> str:
        """The member in use."""
        return self._ring.name

    @property
    def cluster_id(self) -> str:
        """See the port: etcd's own, as ``etcdctl`` writes it."""
        return self._ring.cluster_id

    @property
    def tls_renewals(self) -> int:
        """How often new TLS files have been taken into use."""
        return self._ring.renewed

    async def get(self, key: str, *, timeout_s: float = 5.0) -> KeyValue | None:
        """The key as the cluster agrees it is now."""
        request = wire.RangeRequest(key=encode_key(key))
        answer = await self._call(lambda member: member.kv.Range, request, Sending.READ, timeout_s)
        return key_value(answer.kvs[0]) if answer.kvs else None

    async def list(self, prefix: str, *, without: str = "", timeout_s: float = 10.0) -> Listing:
        """See the port. At one revision, however many pages that takes."""
        end_at = _now() + timeout_s
        while True:
            left_s = end_at - _now()
            try:
                async with aclosing(self._pages(_ranges(prefix, without), left_s, timeout_s)) as pages:
                    parts = [page async for page in pages]
                return Listing(revision=parts[0].revision, items=tuple([kv for part in parts for kv in part.items]))
            except Compacted as error:
                # Between two pages the revision of the first one was compacted away. A fresh start sees a newer one.
                if end_at - _now() < SHORTEST_ATTEMPT_S:
                    raise Unavailable(f"{error}: compacted faster than it can be listed") from error

    def pages(self, prefix: str, *, without: str = "", timeout_s: float = 10.0) -> AsyncGenerator[Listing, None]:
        """See the port."""
        return self._pages(_ranges(prefix, without), timeout_s, timeout_s)

    async def _pages(
        self, ranges: Sequence[tuple[bytes, bytes]], left_s: float, told_s: float
    ) -> AsyncGenerator[Listing, None]:
        end_at, revision, limit = _now() + left_s, 0, _PAGE
        wanted = list(ranges)
        asked: asyncio.Task[wire.RangeResponse] | None = None

        def ask() -> "asyncio.Task[wire.RangeResponse]":
            begin, end = wanted[0]
            request = wire.RangeRequest(key=begin, range_end=end, limit=limit, revision=revision)
            answer = self._call(lambda member: member.kv.Range, request, Sending.READ, end_at - _now(), told_s=told_s)
            return asyncio.create_task(answer, name="etcd: next page")

        try:
            asked = ask()
            while asked is not None:
                answer = await asked
                revision = revision or answer.header.revision
                _, end = wanted.pop(0)
                if answer.more:
                    wanted.insert(0, (answer.kvs[-1].key + b"\0", end))
                items = tuple(map(key_value, answer.kvs))
                limit = _next_limit(items)
                asked = ask() if wanted else None
                given_at = _now()
                yield Listing(revision=Revision(revision), items=items)
                end_at += _now() - given_at
        finally:
            if asked is not None:
                asked.cancel()
                await asyncio.gather(asked, return_exceptions=True)

    async def txn(
        self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout_s: float = 3.0, idempotent: bool = False
    ) -> TxnResult:
        """See the port. ``found`` is read in the same transaction, so it is what the compares were held against."""
        keys = list(dict.fromkeys(compare.key for compare in compares))
        request = wire.TxnRequest(
            compare=[to_compare(compare) for compare in compares],
            success=[to_op(op) for op in ops],
            failure=[wire.RequestOp(request_range=wire.RangeRequest(key=encode_key(key))) for key in keys],
        )
        sending = Sending.REPEATABLE if idempotent else Sending.ONCE
        answer = await self._call(lambda member: member.kv.Txn, request, sending, timeout_s)
        revision = Revision(answer.header.revision)
        if answer.succeeded:
            return TxnResult(succeeded=True, revision=revision)
        ranges: Iterable[wire.RangeResponse] = (response.response_range for response in answer.responses)
        found = {key: key_value(got.kvs[0]) if got.kvs else None for key, got in zip(keys, ranges, strict=True)}
        return TxnResult(succeeded=False, revision=revision, found=found)

    def watch(self, prefix: str, *, start_revision: Revision) -> AsyncGenerator[Batch, None]:
        """See the port. Leave it with ``aclose`` (``contextlib.aclosing``), or by cancelling the task that reads it."""
        return watch(
            self._ring,
            prefix,
            start_revision=start_revision,
            attempt_s=self._attempt_s,
            give_up_s=self._watch_give_up_s,
            current_revision=self._current_revision,
        )

    async def _current_revision(self) -> int:
        request = wire.RangeRequest(key=_PROBE_KEY, keys_only=True)
        answer = await self._call(lambda member: member.kv.Range, request, Sending.READ, 2 * self._attempt_s)
        return answer.header.revision

    async def grant(self, ttl_s: int, *, timeout_s: float = 3.0) -> Lease:
        """A new lease. May be sent to several members: one that was granted unheard holds no key and runs out."""
        request = wire.LeaseGrantRequest(TTL=ttl_s)
        answer = await self._call(lambda member: member.lease.LeaseGrant, request, Sending.REPEATABLE, timeout_s)
        return Lease(id=LeaseId(answer.ID), ttl_s=answer.TTL)

    async def keep_alive(self, lease: LeaseId, *, timeout_s: float = 1.5) -> int:
        """See the port. Count the holder's own deadline from before this call, never from its return."""
        return await self._renewals.renew(lease, timeout_s=timeout_s)

    async def revoke(self, lease: LeaseId, *, timeout_s: float = 3.0) -> None:
        """Ends the lease and deletes its keys. A lease that is gone already is no error: that was the wish."""
        request = wire.LeaseRevokeRequest(ID=lease)
        try:
            await self._call(lambda member: member.lease.LeaseRevoke, request, Sending.REPEATABLE, timeout_s)
        except LeaseGone:
            return

    async def version(self, *, timeout_s: float = 3.0) -> str:
        """The version of the member in use, like ``3.4.23``."""
        answer = await self._call(
            lambda member: member.maintenance.Status, wire.StatusRequest(), Sending.READ, timeout_s
        )
        return answer.version

    async def alarms(self, *, timeout_s: float = 3.0) -> tuple[str, ...]:
        """What the members have raised an alarm for, like ``NOSPACE``."""
        request = wire.AlarmRequest()  # its default: which are there?
        answer = await self._call(lambda member: member.maintenance.Alarm, request, Sending.READ, timeout_s)
        return tuple(sorted({_ALARMS.get(alarm.alarm, f"alarm {alarm.alarm}") for alarm in answer.alarms}))

    async def health(self, *, timeout_s: float = 3.0) -> StoreHealth:
        """See the port."""
        members = await ask_each(self._ring, timeout_s=timeout_s)
        alarms: tuple[str, ...] = ()
        count = 0
        with suppress(Denied):  # etcd may show these to its administrators alone
            alarms = await self.alarms(timeout_s=timeout_s)
        with suppress(Denied):
            request = wire.MemberListRequest()
            listed = await self._call(lambda member: member.cluster.MemberList, request, Sending.READ, timeout_s)
            count = len(listed.members)
        least_ttl_s = 0
        try:
            lease = await self.grant(1, timeout_s=timeout_s)
            await self.revoke(lease.id, timeout_s=timeout_s)
            least_ttl_s = lease.ttl_s
        except NoSpace:
            alarms = alarms or ("NOSPACE",)
        return StoreHealth(
            members=members,
            member_count=count,
            alarms=alarms,
            least_ttl_s=least_ttl_s,
            long_history=await self._keeps_long_history(timeout_s),
        )

    async def _keeps_long_history(self, timeout_s: float) -> bool:
        past = await self._current_revision() - self._long_history
        if past <= 0:  # too young for that to tell
            return False
        request = wire.RangeRequest(key=_PROBE_KEY, keys_only=True, revision=past)
        try:
            await self._call(lambda member: member.kv.Range, request, Sending.READ, timeout_s)
        except Compacted:
            return False
        return True

    async def close(self) -> None:
        """Ends all connections. Calls and watches still in flight raise ``Unavailable`` or ``Ambiguous``."""
        await self._renewals.close()
        await self._ring.close()

    async def _call(
        self,
        method: Callable[[Member], wire.UnaryUnaryMultiCallable[Req, Res]],
        request: Req,
        sending: Sending,
        timeout_s: float,
        *,
        told_s: float | None = None,
    ) -> Res:
        """Sends ``request`` until a member answers; ``told_s`` is the timeout that messages name."""
        return await ask_around(
            self._ring,
            method,
            request,
            sending,
            patience_s=self._attempt_s,
            timeout_s=timeout_s,
            told_s=timeout_s if told_s is None else told_s,
        )


def _next_limit(items: Sequence[KeyValue]) -> int:
    """Keys of the next page, if they are as large as these. Each page costs a request, and a large one a stall."""
    size = sum(len(kv.value) for kv in items) or 1
    return max(_PAGE, min(_MOST_IN_PAGE, _BYTES_IN_PAGE * len(items) // size))


def _ranges(prefix: str, without: str) -> list[tuple[bytes, bytes]]:
    """What to ask for: from, and up to, each time. ``without`` lies under ``prefix``."""
    begin, end = encode_key(prefix) or b"\0", prefix_end(prefix)
    if not without:
        return [(begin, end)]
    return [(begin, encode_key(without)), (prefix_end(without), end)]


def _now() -> float:
    return asyncio.get_running_loop().time()
