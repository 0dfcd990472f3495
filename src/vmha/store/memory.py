"""An etcd without a network: one ``MemoryEtcd`` holds the keys, each ``MemoryStore`` is one client of it.

The twin of ``etcd.EtcdStore`` for the simulation and for tests; both pass ``tests/contract/test_store.py``. It has
etcd's revisions, transactions, leases (also their lateness: expired ones are swept every half second), compaction, and
a history for watches. Time is the event loop's, real or virtual. There are no threads and no random numbers, and every
iteration is sorted, so that a run on a virtual clock replays identically.

Faults are switched on at the server: a client is cut off or slow, the whole store stops, an answer is lost, history is
compacted, the space is used up. What it does not imitate: several members, their elections (but for what these do to
leases: ``elect``), and etcd's known faults (stale reads after a pause, leases revoked under a living holder: ``expire``
does that by hand).
"""

import asyncio
import contextvars
import math
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from vmha.model.errors import Rejected
from vmha.model.ids import LeaseId, Revision
from vmha.store.bell import wake
from vmha.store.memory_watch import WatchLine, cut_down, hand_out
from vmha.store.port import (
    Batch,
    Change,
    Compacted,
    Compare,
    Created,
    Delete,
    Exists,
    KeyValue,
    Lease,
    LeaseGone,
    Listing,
    Modified,
    NoSpace,
    Op,
    Put,
    Settled,
    TxnResult,
    WentBack,
)

SWEEP_S: Final = 0.5
"""etcd looks for expired leases this often."""

_MAX_OPS: Final = 128
_MAX_REQUEST_BYTES: Final = 1_572_864


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One revision and the loop time at which it was made."""

    at_s: float
    batch: Batch


@dataclass(slots=True, kw_only=True)
class _LeaseState:
    ttl_s: int
    expires_at_s: float


@dataclass(frozen=True, slots=True)
class Backup:
    """A snapshot of a ``MemoryEtcd``."""

    revision: int
    keys: dict[str, KeyValue]
    leases: dict[LeaseId, int]


class MemoryEtcd:
    """The server: state, and the switches for its faults. Its calls take no time; the clients' do."""

    def __init__(self, *, min_ttl_s: int = 2, delay_s: float = 0.001, version: str = "3.4.23") -> None:
        """An empty store.

        Args:
            min_ttl_s: The floor of leases' times to live; etcd's is 2 s at its default election timeout.
            delay_s: How long a call of a client takes, there and back, unless ``slow`` says otherwise.
            version: What it calls itself.
        """
        self.version = version
        self.full = False
        """The space quota is used up: puts and grants raise ``NoSpace``."""
        self._min_ttl_s = min_ttl_s
        self._delay_s = delay_s
        self._revision = 1  # where a new etcd starts
        self._compacted = 0
        self._keys: dict[str, KeyValue] = {}
        self._names: list[str] = []  # of the keys, sorted
        self._history: list[Commit] = []
        self._leases: dict[LeaseId, _LeaseState] = {}
        self._last_lease = 0x1000
        self._sweep: asyncio.TimerHandle | None = None
        self._running = True
        self._is_electing = False
        self._cut_off: set[str] = set()
        self._slow: dict[str, float] = {}
        self._lag: dict[str, float] = {}
        self._deceived: set[str] = set()
        self._answers_to_lose: dict[str, list[bool]] = {}
        self._waiting: list[asyncio.Future[None]] = []  # for a change of who is reachable
        self._lines: list[WatchLine] = []
        self._context = contextvars.Context()  # the server's timers are its own, whichever client set them off

    # --- faults

    def cut(self, client: str) -> None:
        """Nothing passes between the store and ``client`` any more, in either direction."""
        self._cut_off.add(client)
        self.break_watches(client)
        self.wake()

    def heal(self, client: str) -> None:
        """Undoes ``cut``."""
        self._cut_off.discard(client)
        self.wake()

    def is_cut(self, client: str) -> bool:
        return client in self._cut_off

    def slow(self, client: str, delay_s: float) -> None:
        """Calls of ``client`` take ``delay_s`` from now on."""
        self._slow[client] = delay_s

    def stop(self) -> None:
        """The whole store is down. Leases do not expire meanwhile."""
        self._running = False
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self.break_watches()
        self.wake()

    def start(self) -> None:
        """Undoes ``stop``. Every lease begins anew, as after an election of etcd."""
        self._running = True
        self._extend_leases()
        self.wake()

    def elect(self, is_electing: bool) -> None:
        """One leader of the store follows another, each in less than a time to live: no lease runs out meanwhile, not
        those of the dead either, and with the last of them every lease begins anew.
        """
        self._is_electing = is_electing
        self._extend_leases()

    def lag(self, client: str, delay_s: float) -> None:
        """What watches of ``client`` deliver comes so much later from now on: others see the same change before it."""
        self._lag[client] = delay_s

    def repeat(self, client: str, changes: int) -> None:
        """Watches of ``client`` deliver their last ``changes`` batches a second time."""
        for line in self._lines:
            if line.client == client:
                line.repeat(changes)

    def deceive(self, client: str, is_deceived: bool) -> None:
        """Renewals of ``client`` are acknowledged and count for nothing, as by an etcd leader that is none any more."""
        (self._deceived.add if is_deceived else self._deceived.discard)(client)

    def break_watches(self, client: str | None = None) -> None:
        """Their connections end (everybody's when no client is named); they connect again and go on."""
        for line in self._lines:
            if client is None or line.client == client:
                line.end()

    def back_up(self) -> "Backup":
        """The state as it is, for ``restore``."""
        return Backup(self._revision, dict(self._keys), {lease: state.ttl_s for lease, state in self._leases.items()})

    def restore(self, backup: "Backup") -> None:
        """As an administrator does with a snapshot: back to an earlier revision, which goes on from there."""
        self._revision, self._keys, self._names = backup.revision, dict(backup.keys), sorted(backup.keys)
        self._compacted, self._history = backup.revision, []
        self._leases = {
            lease: _LeaseState(ttl_s=ttl_s, expires_at_s=_now() + ttl_s) for lease, ttl_s in backup.leases.items()
        }
        self._plan_sweep()
        self.break_watches()
        self.wake()

    def lose_answer(self, client: str, *, done: bool) -> None:
        """The next write of ``client`` gets no answer; ``done`` says whether it is committed. Calls add up."""
        self._answers_to_lose.setdefault(client, []).append(done)

    def lose_no_answers(self) -> None:
        """Undoes ``lose_answer``."""
        self._answers_to_lose.clear()

    def compact(self, revision: Revision | None = None) -> None:
        """Forgets the history before ``revision`` (default: before the current one)."""
        upto = self._revision if revision is None else revision
        if not self._compacted <= upto <= self._revision:
            raise Rejected(f"cannot compact at {upto}", accepted=f"{self._compacted} to {self._revision}")
        self._compacted = upto
        del self._history[: self._find_commit(upto)]

    def expire(self, lease: LeaseId) -> None:
        """Lets the lease run out now, alive or not: what etcd does to a living holder after a pause of its leader."""
        self.revoke(lease)

    # --- what clients ask

    @property
    def revision(self) -> Revision:
        return Revision(self._revision)

    @property
    def is_running(self) -> bool:
        return self._running

    async def reachable_again(self, until_s: float) -> None:
        """Waits until it changes who is reachable, or until ``until_s``."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        timer = loop.call_at(until_s, wake, waiter)
        self._waiting.append(waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def is_reachable_by(self, client: str) -> bool:
        return self._running and client not in self._cut_off

    def delay_s(self, client: str) -> float:
        return self._slow.get(client, self._delay_s)

    def take_lost_answer(self, client: str) -> bool | None:
        """Whether the next write of ``client`` is to lose its answer (None: no), and is done all the same."""
        planned = self._answers_to_lose.get(client)
        return planned.pop(0) if planned else None

    def get(self, key: str) -> KeyValue | None:
        return self._keys.get(key)

    def list(self, prefix: str, without: str = "") -> Listing:
        begin, end = self._find(prefix)
        out, back = self._find(without) if without else (end, end)
        names = self._names[begin:out] + self._names[back:end]
        return Listing(revision=self.revision, items=tuple([self._keys[name] for name in names]))

    def txn(self, compares: Sequence[Compare], ops: Sequence[Op]) -> TxnResult:
        """All or nothing, in one revision."""
        self._check(compares, ops)
        if not all(map(self._holds, compares)):
            found = {compare.key: self._keys.get(compare.key) for compare in compares}
            return TxnResult(succeeded=False, revision=self.revision, found=found)
        puts = [op for op in ops if isinstance(op, Put)]
        for put in puts:
            if put.lease and put.lease not in self._leases:
                raise LeaseGone(f"etcd in memory: the lease {put.lease:x} is gone")
        if puts and self.full:
            raise NoSpace("etcd in memory: database space exceeded", retry_after_s=10.0)
        self._commit(ops)
        return TxnResult(succeeded=True, revision=self.revision)

    def grant(self, ttl_s: int) -> Lease:
        if self.full:
            raise NoSpace("etcd in memory: database space exceeded", retry_after_s=10.0)
        granted_s = max(ttl_s, self._min_ttl_s)
        self._last_lease += 1
        lease = LeaseId(self._last_lease)
        self._leases[lease] = _LeaseState(ttl_s=granted_s, expires_at_s=_now() + granted_s)
        self._plan_sweep()
        return Lease(id=lease, ttl_s=granted_s)

    def renew(self, lease: LeaseId, *, client: str = "") -> int:
        state = self._leases.get(lease)
        if client in self._deceived:
            return state.ttl_s if state else self._min_ttl_s
        if state is None:
            raise LeaseGone(f"etcd in memory: the lease {lease:x} is gone")
        state.expires_at_s = _now() + state.ttl_s
        return state.ttl_s

    def revoke(self, lease: LeaseId) -> None:
        """Ends the lease and deletes all its keys in one revision."""
        if self._leases.pop(lease, None) is not None:
            self._commit([Delete(key) for key in self._names if self._keys[key].lease == lease])

    def check_watch(self, wanted: int) -> None:
        """Whether a watch can begin at ``wanted``.

        Raises:
            Compacted: no.
            WentBack: the revision before it, which counts as seen, lies ahead.
        """
        if wanted < self._compacted:
            raise Compacted(f"revision {wanted} is compacted: etcd in memory keeps from {self._compacted} on")
        if wanted - 1 > self._revision:
            raise WentBack(f"etcd in memory is at revision {self._revision}, but {wanted - 1} was seen before")

    def commits(self, wanted: int, prefix: str) -> Iterator[Commit]:
        """Those from ``wanted`` on that touch ``prefix``, cut down to it."""
        for commit in self._history[self._find_commit(wanted) :]:
            batch = cut_down(commit.batch, prefix)
            if batch is not None:
                yield Commit(at_s=commit.at_s, batch=batch)

    def open_watch(self, client: str, prefix: str, wanted: int) -> WatchLine:
        """What was committed from ``wanted`` on is delivered at once, what is committed from now on as it comes.

        Raises:
            Compacted, WentBack: see ``check_watch``.
        """
        self.check_watch(wanted)
        line = WatchLine(client, prefix)
        for commit in self.commits(wanted, prefix):
            line.take(commit.batch)
        self._lines.append(line)
        return line

    def close_watch(self, line: WatchLine) -> None:
        line.end()
        self._lines.remove(line)

    def wake(self) -> None:
        """Makes everybody who waits to reach the store look again."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            wake(waiter)
        for line in self._lines:
            line.wake()

    # --- inside

    def _find(self, prefix: str) -> tuple[int, int]:
        """From where to where the keys under ``prefix`` stand among the names."""
        begin = bisect_left(self._names, prefix)
        return begin, bisect_left(self._names, True, lo=begin, key=lambda name: not name.startswith(prefix))

    def _check(self, compares: Sequence[Compare], ops: Sequence[Op]) -> None:
        if len(compares) > _MAX_OPS or len(ops) > _MAX_OPS:
            raise Rejected("etcd in memory: too many operations in txn request", accepted=f"up to {_MAX_OPS}")
        written: dict[str, Op] = {}
        for op in ops:
            if op.key in written and (isinstance(op, Put) or isinstance(written[op.key], Put)):
                raise Rejected(f"etcd in memory: duplicate key given in txn request: {op.key}")
            written[op.key] = op
        if sum(len(op.value) for op in ops if isinstance(op, Put)) >= _MAX_REQUEST_BYTES:
            raise Rejected("etcd in memory: request is too large", accepted=f"less than {_MAX_REQUEST_BYTES} bytes")

    def _holds(self, compare: Compare) -> bool:
        kv = self._keys.get(compare.key)
        match compare:
            case Created(_, revision):
                return (kv.create_revision if kv else 0) == revision
            case Modified(_, revision):
                return (kv.mod_revision if kv else 0) == revision
            case Exists():
                return kv is not None
            case Settled(prefix, revision):
                begin, end = self._find(prefix)
                return all(self._keys[name].mod_revision <= revision for name in self._names[begin:end])
            case _:
                assert_never(compare)

    def _commit(self, ops: Sequence[Op]) -> None:
        """Makes the next revision, if anything changes: etcd counts no revision for a delete of nothing."""
        revision = Revision(self._revision + 1)
        changes: list[Change] = []
        for op in ops:
            old = self._keys.get(op.key)
            match op:
                case Put(key, value, lease):
                    created = old.create_revision if old else revision
                    kv = KeyValue(key=key, value=value, create_revision=created, mod_revision=revision, lease=lease)
                    self._keys[key] = kv
                    if old is None:
                        insort(self._names, key)
                    changes.append(Change(key, kv))
                case Delete(key):
                    if old is not None:
                        del self._keys[key]
                        del self._names[bisect_left(self._names, key)]
                        changes.append(Change(key, None))
                case _:
                    assert_never(op)
        if changes:
            self._revision = revision
            batch = Batch(revision=revision, changes=tuple(changes))
            loop = asyncio.get_running_loop()
            self._history.append(Commit(at_s=loop.time(), batch=batch))
            self._deliver(batch, loop)

    def _deliver(self, batch: Batch, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all watches that hear of it at the same instant."""
        now = loop.time()
        below: dict[str, Batch | None] = {}
        due: dict[float, list[tuple[WatchLine, Batch]]] = {}
        for line in self._lines:
            if line.prefix not in below:
                below[line.prefix] = cut_down(batch, line.prefix)
            mine = below[line.prefix]
            if mine is not None and not line.is_over:
                # Never before what was sent earlier: a watch keeps its order.
                line.last_due_s = max(line.last_due_s, now + self.delay_s(line.client) + self._lag.get(line.client, 0))
                due.setdefault(line.last_due_s, []).append((line, mine))
        for at_s, deliveries in due.items():
            loop.call_at(at_s, hand_out, deliveries, context=self._context)

    def _find_commit(self, revision: int) -> int:
        return bisect_left(self._history, revision, key=lambda commit: commit.batch.revision)

    def _extend_leases(self) -> None:
        for lease in self._leases.values():
            lease.expires_at_s = _now() + lease.ttl_s
        self._plan_sweep()

    def _plan_sweep(self) -> None:
        """Wakes at the first sweep after the earliest expiry. A renewal puts that off: a sweep may find nothing."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        if self._leases and self._running and not self._is_electing:
            earliest = min(lease.expires_at_s for lease in self._leases.values())
            at = math.ceil(max(earliest, _now() + 1e-6) / SWEEP_S) * SWEEP_S
            self._sweep = asyncio.get_running_loop().call_at(at, self._sweep_now, context=self._context)

    def _sweep_now(self) -> None:
        self._sweep = None
        now = _now() + 1e-6  # an event loop may be early by its clock's resolution
        for lease in sorted(lease for lease, state in self._leases.items() if state.expires_at_s <= now):
            self.revoke(lease)
        self._plan_sweep()


def _now() -> float:
    return asyncio.get_running_loop().time()
