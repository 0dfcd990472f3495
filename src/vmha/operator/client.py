"""One operator's view of a cluster: one reading, guarded writes, and changes as they come.

A reading is one listing at one revision, of everything but the journal, which may have ten thousand entries: a
migration that ends meanwhile never looks like a vm that runs twice. A write compares the revisions of what it was
decided upon; a lost compare reads and decides anew.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from vmha.model.by_hand import OPERATOR
from vmha.model.clock import Clock
from vmha.model.errors import Refused, Rejected, VmhaError
from vmha.model.ids import LeaseId, NodeName, RequestId, Revision
from vmha.model.keys import Keys, decode
from vmha.model.records import JournalEntry
from vmha.model.schema import ClusterSchema, Software
from vmha.model.settings import ClusterConfig
from vmha.operator import hand
from vmha.operator.errors import RefusedByCluster
from vmha.operator.hand import Told
from vmha.policy.state.assemble import Assembler
from vmha.policy.state.filling import Filling
from vmha.policy.state.snapshot import Snapshot
from vmha.store.journal import Journal
from vmha.store.port import (
    Ambiguous,
    Batch,
    Compacted,
    Compare,
    Created,
    KeyValue,
    LeaseGone,
    Modified,
    Op,
    Put,
    Settled,
    Store,
    Unavailable,
)

_LATEST = 253402300800.0 - 86400.0
"""The last year of four digits, wherever its reader lives."""
READ_TIMEOUT_S = 3.0
"""A reading that takes longer is given up: an operator is to know within 5 s that the cluster does not answer."""

_ATTEMPTS = 5
_A_TURN = 200
"""Keys that are read before the loop has a turn: the next page comes in meanwhile."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A snapshot, and the revision at which each of its keys was last changed."""

    snapshot: Snapshot
    modified: dict[str, Revision]

    def unchanged(self, key: str) -> Modified:
        """Holds as long as ``key`` is as it was read (absent, if it was absent)."""
        return Modified(key, self.modified.get(key, Revision(0)))

    def settled(self, prefix: str) -> Settled:
        """Holds as long as nothing under ``prefix`` was written since it was read."""
        return Settled(prefix, Revision(self.snapshot.revision))

    def unchanged_by(self, op: Op) -> Modified:
        """As ``unchanged``, of what ``op`` writes."""
        return self.unchanged(op.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit(Generic[T]):
    """What to write, what must still hold, and what to tell the caller. Without ``ops`` nothing is written.

    ``told``: entries of the journal that are written with it.
    """

    result: T
    ops: Sequence[Op] = ()
    compares: Sequence[Compare] = field(default=())
    told: Sequence[Told] = ()


class OperatorClient:
    """Reads and writes one cluster on behalf of ``author``, who is named in everything that is written."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        clock: Clock,
        *,
        author: str = "an operator",
        new_id: Callable[[], str] | None = None,
        software: Software | None = None,
    ) -> None:
        """Args:
        store: The cluster's store. It stays the caller's to close.
        keys: The cluster.
        clock: Dates what is written.
        author: Who asks, for people to read.
        new_id: Source of request ids; drawn at random when not given.
        software: What it runs from; this vmha when not given.
        """
        self.store = store
        self.keys = keys
        self.clock = clock
        self.author = author
        self.software = software or Software()
        self._new_id = new_id or (lambda: secrets.token_hex(4))
        self._assembler = Assembler(keys)
        self._held: dict[str, KeyValue] = {}  # what the assembler has been given
        self._read_at = Revision(0)
        self._journal_days = ClusterConfig().journal_days
        self.entries = Journal(store, keys, clock, OPERATOR, days=lambda: self._journal_days)

    def new_request_id(self) -> RequestId:
        """Sorts by time, to the millisecond."""
        return RequestId(f"{round(self.clock.wall() * 1000):013d}-{self._new_id()}")

    async def read(self, *, timeout_s: float = READ_TIMEOUT_S) -> Snapshot:
        """The cluster as it is now.

        Raises:
            Unavailable: the store does not answer within ``timeout_s``.
        """
        return (await self.reading(timeout_s=timeout_s)).snapshot

    async def reading(self, *, timeout_s: float = READ_TIMEOUT_S) -> Reading:
        """As ``read``, with the revisions that a guarded write compares."""
        reading, _ = await self._load(timeout_s)
        return reading

    async def imagine(self, ops: Sequence[Op]) -> Snapshot:
        """The cluster as it would be read if ``ops`` were written, and every node had looked at what is new.

        Raises:
            Unavailable: as ``read``.
        """
        reading, read = await self._load(READ_TIMEOUT_S)
        assembler = self._part_with(read)
        then = Revision(reading.snapshot.revision + 1)
        for op in ops:
            if isinstance(op, Put):
                assembler.put(op.key, op.value, created=Revision(0), modified=then, lease=LeaseId(0))
            else:
                assembler.delete(op.key)
        return assembler.snapshot(then)

    async def change(self, decide: Callable[[Reading], Edit[T]], *, about: str = "") -> T:
        """Read, decide, write; when the write loses its compare, all over again, a few times.

        ``about``: the beginning of all keys that ``decide`` looks at. Only they are read, which in a large cluster is a
        ten-thousandth of it. What is rejected by that is decided upon the whole: it knows the near names.

        Raises:
            Refused: others kept changing the same things.
            VmhaError: whatever ``decide`` raises; nothing is written then.
        """
        for _ in range(_ATTEMPTS):
            edit = await self._decide(decide, about)
            if not edit.ops or await self.commit(edit.compares, edit.ops, edit.told):
                return edit.result
        raise Refused("others are changing the same things right now; try again")

    async def _decide(self, decide: Callable[[Reading], Edit[T]], about: str) -> Edit[T]:
        if about:
            with suppress(Rejected):
                return decide(await self._part(about))
        return decide(await self.reading())

    async def commit(self, compares: Sequence[Compare], ops: Sequence[Op], told: Sequence[Told] = ()) -> bool:
        """One transaction, with what is ``told`` of it. An unclear answer is cleared up by looking.

        Returns:
            Whether it is done; False: something compared has changed.

        Raises:
            RefusedByCluster: this vmha is too old for the cluster: what it does not know would be lost.
        """
        found = await self.store.get(self.keys.schema)
        if found is not None:
            cluster = decode(ClusterSchema, found.value, where=found.key).version
            if why := self.software.why_too_old(cluster):
                raise RefusedByCluster(f"nothing is written: {why}")
        as_it_is = Modified(self.keys.schema, found.mod_revision if found else Revision(0))
        try:
            return await self._write([as_it_is, *compares], ops, told)
        except LeaseGone:  # of the journal's entries: a store that was restored does not know it any more
            self.entries.forget_lease()
            return await self._write([as_it_is, *compares], ops, told)

    async def _write(self, compares: Sequence[Compare], ops: Sequence[Op], told: Sequence[Told]) -> bool:
        if told:
            await self.entries.refresh()
        entries = hand.entries(self.entries, self.author, told)
        # Others write here at the same time: who would use the same name for an entry loses, and comes with another.
        unused = [Created(entry.key, Revision(0)) for entry in entries[:1]]
        try:
            result = await self.store.txn([*compares, *unused], [*ops, *entries])
        except Ambiguous:
            if await self._is_done([*ops, *entries]):
                return True
            raise
        return result.succeeded

    async def _is_done(self, ops: Sequence[Op]) -> bool:
        for op in ops:
            found = await self.store.get(op.key)
            wanted = op.value if isinstance(op, Put) else None
            if (found.value if found else None) != wanted:
                return False
        return True

    async def snapshots(
        self, *, on_beat: Callable[[NodeName], None] = lambda _: None
    ) -> AsyncGenerator[Snapshot, None]:
        """The cluster as it is, and again after each change that an operator could notice. By watching, not polling.

        Args:
            on_beat: told of each beat as it comes, most of which are no such change.

        Raises:
            Unavailable: the store does not answer (any more).
        """
        while True:
            reading, read = await self._load(READ_TIMEOUT_S)
            assembler = self._part_with(read)
            yield reading.snapshot
            watch = self.store.watch(self.keys.prefix, start_revision=Revision(reading.snapshot.revision + 1))
            try:
                async with aclosing(watch) as batches:  # type: ignore[type-var]
                    async for batch in batches:
                        if self._take(assembler, batch, on_beat):
                            yield assembler.snapshot(batch.revision)
            except Compacted:
                continue  # read anew

    async def alarms(self) -> tuple[str, ...]:
        """What etcd itself has raised an alarm for; nothing when it does not say."""
        try:
            return await self.store.alarms(timeout_s=READ_TIMEOUT_S)
        except VmhaError:
            return ()  # only an addition: what is wrong shows in the reading

    async def journal(self, *, timeout_s: float = READ_TIMEOUT_S) -> tuple[list[JournalEntry], Revision]:
        """All entries that have not expired, oldest first, and the revision of the listing."""
        listing = await self.store.list(self.keys.journal(""), timeout_s=timeout_s)
        entries = [entry for kv in listing.items if (entry := _journal_entry(kv))]
        return sorted(entries, key=lambda entry: (entry.at, entry.id)), listing.revision

    async def journal_follow(self, after: Revision) -> AsyncGenerator[JournalEntry, None]:
        """Entries written after a revision, as they are written."""
        watch = self.store.watch(self.keys.journal(""), start_revision=Revision(after + 1))
        async with aclosing(watch) as batches:  # type: ignore[type-var]
            async for batch in batches:
                for change in batch.changes:
                    if change.kv and (entry := _journal_entry(change.kv)):
                        yield entry

    async def _load(self, timeout_s: float) -> tuple[Reading, Assembler]:
        """What has not changed since the last reading is not read again."""
        if not self._held:
            await self._load_anew(timeout_s)
        else:
            await self._load_again(timeout_s)
        modified = {key: kv.mod_revision for key, kv in self._held.items()}
        snapshot = self._assembler.snapshot(self._read_at)
        self._journal_days = snapshot.config.journal_days
        return Reading(snapshot=snapshot, modified=modified), self._assembler

    async def _load_anew(self, timeout_s: float) -> None:
        """Each page is read while the store looks for the next one."""
        for _ in range(_ATTEMPTS):
            with suppress(Compacted):
                filling, held, revision = Filling(self.keys), dict[str, KeyValue](), Revision(0)
                pages = self.store.pages(self.keys.prefix, without=self.keys.journal(""), timeout_s=timeout_s)
                async with aclosing(pages) as listings:
                    async for listing in listings:
                        revision = listing.revision
                        for start in range(0, len(listing.items), _A_TURN):
                            part = listing.items[start : start + _A_TURN]
                            filling.take(part)
                            held.update({kv.key: kv for kv in part})
                            await asyncio.sleep(0)
                self._assembler, self._held, self._read_at = filling.done(), held, revision
                return
        raise Unavailable("the store is compacted faster than it can be read")

    async def _load_again(self, timeout_s: float) -> None:
        listing = await self.store.list(self.keys.prefix, without=self.keys.journal(""), timeout_s=timeout_s)
        before, self._read_at = self._held, listing.revision
        self._held = {kv.key: kv for kv in listing.items}
        for key in before.keys() - self._held.keys():
            self._assembler.delete(key)
        for key, kv in self._held.items():
            known = before.get(key)
            if known is not kv and known != kv:
                _put(self._assembler, kv)

    async def _part(self, about: str) -> Reading:
        """What begins with ``about``, and the settings."""
        assembler, modified = Assembler(self.keys), {}
        listings = [await self.store.list(prefix, timeout_s=READ_TIMEOUT_S) for prefix in (self.keys.config, about)]
        for kv in (kv for listing in listings for kv in listing.items):
            _put(assembler, kv)
            modified[kv.key] = kv.mod_revision
        self._journal_days = assembler.config.journal_days
        return Reading(snapshot=assembler.snapshot(min(one.revision for one in listings)), modified=modified)

    def _part_with(self, assembler: Assembler) -> Assembler:
        """Whoever asked for it goes on with it by himself; the next reading begins with an empty one."""
        self._assembler, self._held = Assembler(self.keys), {}
        return assembler

    def _take(self, assembler: Assembler, batch: Batch, on_beat: Callable[[NodeName], None]) -> bool:
        """Whether an operator could notice it: a beat that only counts on, and the journal, are not."""
        noticed = False
        for change in batch.changes:
            if change.key.startswith(self.keys.journal("")):
                continue
            if change.kv is None:
                assembler.delete(change.key)
            else:
                _put(assembler, change.kv)
            is_beat = change.kv is not None and change.key.endswith("/beat")
            if is_beat:
                on_beat(NodeName(change.key.split("/")[-2]))
            noticed |= not (is_beat and change.kv and change.kv.create_revision != change.kv.mod_revision)
        return noticed


def _put(assembler: Assembler, kv: KeyValue) -> None:
    assembler.put(kv.key, kv.value, created=kv.create_revision, modified=kv.mod_revision, lease=kv.lease)


def _journal_entry(kv: KeyValue) -> JournalEntry | None:
    """None: it is none, or of a date that no calendar has, which nobody could show."""
    try:
        entry = decode(JournalEntry, kv.value, where=kv.key)
    except VmhaError:
        return None
    dates = (entry.at, entry.since, entry.hand.until if entry.hand else 0.0)
    return entry if all(0.0 <= date < _LATEST for date in dates) else None
