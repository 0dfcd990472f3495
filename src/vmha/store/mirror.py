"""The cluster's keys, mirrored: one listing, then every change as it comes. Everybody decides on this reading.

It may lag; whoever writes compares the revisions it read, so a stale reading can only lose the compare.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog

from vmha.model.clock import Clock
from vmha.model.errors import VmhaError
from vmha.model.ids import NodeName, Revision, SessionId, VmName
from vmha.model.keys import Keys, split_key
from vmha.model.records import BeatRecord, FenceRecord, LeaderRecord, NodeStatus, RemovedVm, Stored
from vmha.model.settings import ClusterConfig
from vmha.policy.members.silence import SilenceBook
from vmha.policy.state.assemble import Assembler
from vmha.policy.state.indexes import Indexes
from vmha.policy.state.snapshot import Snapshot, VmView
from vmha.store.port import Change, Compacted, KeyValue, Store, WentBack

log = structlog.get_logger(__name__)

RELIST_PAUSE_S = 0.2
READ_AT_ONCE = 32
"""Documents that are read before the loop has a turn: two or three milliseconds."""
Listener = Callable[[tuple[str, ...]], None]


class Mirror:
    """``run`` keeps it; ``snapshot`` reads it; ``subscribe`` tells which keys changed."""

    def __init__(self, store: Store, keys: Keys, clock: Clock) -> None:
        self._store, self._keys, self._clock = store, keys, clock
        self._prefix = keys.prefix
        self._journal, self._history = keys.journal(""), keys.history
        self._assembler = Assembler(keys)
        self._known: dict[str, Revision] = {}
        self._silence = SilenceBook()
        self._listeners: tuple[Listener, ...] = ()
        self._snapshot: Snapshot | None = None
        self._moved: asyncio.Event | None = None  # there is one while somebody waits
        self.revision = Revision(0)
        self.synced = asyncio.Event()
        self.listed_at = math.inf
        """When the newest listing was read, on this node's clock; infinite while another one is needed."""
        self._unsettled_since = ("", 0.0)
        self._is_distrusted = asyncio.Event()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """``listener`` gets the changed keys of each revision. Returns the way to unsubscribe."""
        self._listeners += (listener,)

        def unsubscribe() -> None:
            self._listeners = tuple(one for one in self._listeners if one is not listener)

        return unsubscribe

    def snapshot(self) -> Snapshot:
        """The cluster at the newest revision seen; the same object until something changes."""
        if self._snapshot is None or self._snapshot.revision != self.revision:
            self._snapshot = self._assembler.snapshot(self.revision)
        return self._snapshot

    @property
    def config(self) -> ClusterConfig:
        """The cluster's settings at the newest revision seen, without building a snapshot."""
        return self._assembler.config

    @property
    def leader(self) -> Stored[LeaderRecord] | None:
        """At the newest revision seen, likewise."""
        return self._assembler.leader

    @property
    def schema(self) -> int:
        """The version that the cluster is at, at the newest revision seen."""
        return self._assembler.schema

    @property
    def indexes(self) -> Indexes:
        """Of the vms at the newest revision seen."""
        return self._assembler.indexes

    def beat(self, name: NodeName) -> Stored[BeatRecord] | None:
        """One node's beat at the newest revision seen."""
        return self._assembler.beat(name)

    def beats(self) -> Iterator[tuple[NodeName, BeatRecord]]:
        """Of all nodes."""
        return self._assembler.beats()

    def statuses(self) -> Iterator[NodeStatus]:
        """Likewise."""
        return self._assembler.statuses()

    def vm(self, name: VmName) -> VmView | None:
        """One vm, likewise: a snapshot is another one after each beat of each node."""
        return self._assembler.vm(name)

    @property
    def vms(self) -> Mapping[VmName, VmView]:
        """A snapshot's, likewise."""
        return self._assembler.vms

    @property
    def fenced(self) -> Mapping[SessionId, FenceRecord]:
        return self._assembler.fenced

    @property
    def problems(self) -> Mapping[str, str]:
        return self._assembler.problems

    @property
    def removed(self) -> Mapping[str, Stored[RemovedVm]]:
        return self._assembler.removed

    @property
    def restored_as(self) -> str:
        """The id of the newest record of a restored store; '' when none was."""
        record = self._assembler.history
        return record.id if record else ""

    def silence_s(self) -> dict[NodeName, float]:
        return self._silence.silence_s(self._clock.now())

    def silence_of(self, node: NodeName) -> float:
        """As ``silence_s`` of one node; 0 for a node that was never seen."""
        return self._silence.silence_of(node, self._clock.now())

    def promise(self, node: NodeName) -> bool:
        """From now on this process waits as if it had just seen a beat of ``node``. False: it has never seen one."""
        return self._silence.promised(node, self._clock.now())

    async def caught_up(self, revision: Revision, *, timeout_s: float = 2.0) -> bool:
        """Wait until this mirror has seen ``revision``. False when it does not within ``timeout_s``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.revision < revision:
                    self._moved = self._moved or asyncio.Event()
                    await self._moved.wait()
        return self.revision >= revision

    def distrust(self) -> None:
        """The store is at an earlier state than this mirror: it lists again, and nothing known so far counts."""
        self.listed_at = math.inf
        self._is_distrusted.set()

    async def run(self) -> None:
        """List, watch, and begin again when the watch can not go on. Returns only by cancellation."""
        while True:
            try:
                self._is_distrusted.clear()
                listing = await self._store.list(self._keys.prefix, without=self._journal)
                if listing.revision < self.revision:
                    raise WentBack(f"the store is at revision {listing.revision}, but {self.revision} was seen before")
                await self._take_listing(listing.revision, listing.items)
                await self._follow(Revision(listing.revision + 1))
            except WentBack as error:
                log.error("the store went back: restored from a backup?", why=str(error))
                self._forget()
            except Compacted as error:
                log.warning("mirror lists again", why=str(error))
            except VmhaError as error:
                log.warning("mirror lost the store", why=str(error))
            await asyncio.sleep(RELIST_PAUSE_S)

    async def _follow(self, start_revision: Revision) -> None:
        """Until the watch can not go on, or is not to: raises WentBack when the mirror is distrusted."""
        watching = asyncio.create_task(self._watch(start_revision), name="mirror: watch")
        distrusted = asyncio.create_task(self._is_distrusted.wait(), name="mirror: distrust")
        try:
            await asyncio.wait({watching, distrusted}, return_when=asyncio.FIRST_COMPLETED)
            if distrusted.done():
                raise WentBack("a beat that this node had committed is not in the store")
            watching.result()
        finally:
            watching.cancel()
            distrusted.cancel()
            await asyncio.gather(watching, distrusted, return_exceptions=True)

    async def _watch(self, start_revision: Revision) -> None:
        taken = 0
        async for batch in self._store.watch(self._keys.prefix, start_revision=start_revision):
            if batch.revision > self.revision:  # one delivered twice would take this reading back
                self._take(batch.revision, batch.changes)
                taken += len(batch.changes)
            if taken >= READ_AT_ONCE:  # hundreds of revisions may come in one piece
                taken = 0
                await asyncio.sleep(0)

    def _forget(self) -> None:
        """Revisions of another history say nothing: one of them may come again, with another value."""
        self.revision, self._snapshot = Revision(0), None
        self.listed_at = math.inf
        self._known = dict.fromkeys(self._known, Revision(0))

    async def _take_listing(self, revision: Revision, items: tuple[KeyValue, ...]) -> None:
        """A listing is a difference to what is known: what did not change is not announced.

        Of a large cluster it is seconds of work, and beats must not wait for it: it is read some documents at a time,
        beside the present reading, which nobody sees half changed.
        """
        here = {kv.key for kv in items}
        changes = [Change(kv.key, kv) for kv in items if self._known.get(kv.key) != kv.mod_revision]
        changes += [Change(key, None) for key in sorted(self._known.keys() - here)]
        if len(changes) <= READ_AT_ONCE:
            self.listed_at = self._clock.now()
            self._take(revision, changes)
        else:
            await self._take_slowly(revision, changes)
        self.synced.set()

    async def _take_slowly(self, revision: Revision, changes: Sequence[Change]) -> None:
        beside, known = self._assembler.copy(), dict(self._known)
        slices = [changes[start : start + READ_AT_ONCE] for start in range(0, len(changes), READ_AT_ONCE)]
        keys = []
        for part in slices:
            keys.append(self._put(part, beside, known))
            await asyncio.sleep(0)
        if self._is_distrusted.is_set():
            raise WentBack("the store went back while it was being read")
        self._assembler, self._known = beside, known
        self.listed_at = self._clock.now()
        self._took(revision, changes)
        for changed in keys:
            self._announce(changed)
            await asyncio.sleep(0)

    def _take(self, revision: Revision, changes: Sequence[Change]) -> None:
        changed = self._put(changes, self._assembler, self._known)
        self._took(revision, changes)
        self._announce(changed)

    def _put(self, changes: Sequence[Change], assembler: Assembler, known: dict[str, Revision]) -> tuple[str, ...]:
        """The keys of these changes that are kept."""
        kept = []
        for change in changes:
            key, kv = change.key, change.kv
            if key.startswith(self._journal):
                continue  # nobody decides on it, and there is much of it
            kept.append(key)
            if kv is None:
                known.pop(key, None)
                assembler.delete(key)
            else:
                known[key] = kv.mod_revision
                assembler.put(key, kv.value, created=kv.create_revision, modified=kv.mod_revision, lease=kv.lease)
        return tuple(kept)

    def _took(self, revision: Revision, changes: Sequence[Change]) -> None:
        """What was put is what this mirror shows from now on."""
        for change in changes:
            if change.key.endswith("/beat"):
                self._mark_beat(change)
            elif change.key == self._history:
                self._mark_history()
        self.revision = revision
        if self._moved is not None:
            self._moved.set()
            self._moved = None

    def _announce(self, keys: tuple[str, ...]) -> None:
        if not keys:
            return
        for listener in self._listeners:
            try:
                listener(keys)
            except Exception:  # a key that nobody foresaw must not end the watch, and with it every agent's beats
                log.exception("a listener failed", keys=keys[:5])

    def unsettled_s(self) -> float:
        """For how long the newest record of a restored store is known here, in seconds."""
        return self._clock.now() - self._unsettled_since[1]

    def _mark_history(self) -> None:
        record = self._assembler.history
        if record is not None and record.id != self._unsettled_since[0]:
            self._unsettled_since = (record.id, self._clock.now())

    def _mark_beat(self, change: Change) -> None:
        parts = split_key(self._prefix, change.key)
        if len(parts) == 3 and parts[0] == "nodes" and parts[2] == "beat":
            node = NodeName(parts[1])
            if change.kv is None:
                self._silence.forget(node)
            else:
                self._silence.saw(node, change.kv.mod_revision, self._clock.now())
