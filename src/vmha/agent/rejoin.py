"""A beat lost its compare: is this node evicted, or was the store restored to an earlier state?

A beat compares the revision of the one before. When that is not in the store, then

    it holds a beat of ours sent before the last that committed   -> the store went back
    it holds another's, or none; fencing/<session> is on record   -> evicted: the guests must end
    it holds another's, or none; and no proof is on record        -> the store went back to before this session began

Nobody can have concluded anything about a session in a store that does not know it, so the guests may run on. But what
that store says of them is of the past, and others may believe it. So ``history`` is written in the same transaction
that puts our beat back, and until the leader has settled it nobody starts, moves or recovers anything
(deciding/restored.py). The guard hears of that beat as of any other: had it come to its deadline, it ends the session.
"""

from collections.abc import Callable

import structlog

from vmha.agent.session_state import Session
from vmha.model.clock import Clock
from vmha.model.errors import Rejected, VmhaError
from vmha.model.ids import NodeName, Revision
from vmha.model.keys import Keys, decode, encode
from vmha.model.records import BeatRecord, HistoryRecord
from vmha.store.journal import Journal
from vmha.store.port import Compare, Created, Delete, KeyValue, LeaseGone, Modified, Op, Put, Store

log = structlog.get_logger(__name__)

ROUNDING_S = 0.001
"""A send time that went through the guard's deadline and back."""


def read_beat(known: KeyValue | None) -> BeatRecord | None:
    try:
        return decode(BeatRecord, known.value, where=known.key) if known else None
    except Rejected:
        return None


def is_of_the_past(found: BeatRecord, committed_at: float) -> bool:
    """A beat of a session, held against when the last one that is known to have committed was sent."""
    return 0.0 < found.sent_at < committed_at - ROUNDING_S


def is_ours(session: Session, found: KeyValue | None) -> bool:
    """A beat of this session that is no older than the last one that is known to have committed."""
    beat = read_beat(found)
    return beat is not None and beat.session == session.id and not is_of_the_past(beat, session.sent_at)


class Rejoin:
    """Takes a session up again in a store that does not know it, or knows it as it was."""

    def __init__(
        self, store: Store, keys: Keys, clock: Clock, node: NodeName, journal: Journal, on_went_back: Callable[[], None]
    ) -> None:
        self._store, self._keys, self._clock, self._node = store, keys, clock, node
        self._journal, self._on_went_back = journal, on_went_back

    async def after_lost_beat(
        self, session: Session, found: KeyValue | None, beat: bytes, sent_at: float, *, host: str
    ) -> bool:
        """``beat`` lost its compare to ``found``. True: it is in the store now all the same, in its place."""
        other = read_beat(found)
        try:
            if other and other.host and other.host != host:
                session.end(f"evicted: another machine calls itself {self._node}")
            elif await self.is_evicted(session):
                session.end("evicted: the beat key is gone or another's")
            else:
                return await self.write(session, found, beat, sent_at=sent_at)
        except LeaseGone:
            self._journal.forget_lease()  # unknown to the restored store
        except VmhaError as error:
            log.warning("not back in the restored store yet", why=str(error))
        return False

    async def is_evicted(self, session: Session) -> bool:
        return await self._store.get(self._keys.fencing(session.id)) is not None

    async def write(self, session: Session, found: KeyValue | None, beat: bytes, *, sent_at: float) -> bool:
        """Put ``beat`` in the place of ``found``, and the restore on record. False: to be tried again.

        Raises:
            VmhaError: from the store.
        """
        self._on_went_back()
        record, known = await self._make_record(session, found, sent_at)
        log.error("the store went back: restored from a backup?", session=session.id, why=record.why)
        await self._journal.refresh()
        key, unfenced = self._keys.beat(self._node), Created(self._keys.fencing(session.id), Revision(0))
        compares: list[Compare] = [
            Modified(key, found.mod_revision if found else Revision(0)),
            Modified(self._keys.history, known),
            unfenced,
        ]
        ops: list[Op] = [
            Put(self._keys.history, encode(record)),
            self._journal.entry("store-went-back", record.why, node=self._node),
        ]
        if found is not None and found.create_revision != session.beat_created:
            # Another session's: its key goes first, so that ours is created under a revision that was never its.
            ops += [Delete(key), Delete(self._keys.session(self._node))]
            if not (await self._store.txn(compares, ops)).succeeded:
                return False
            compares, ops = [Created(key, Revision(0)), unfenced], []
        result = await self._store.txn(compares, [*ops, Put(key, beat)])
        if not result.succeeded:
            return False
        is_new = found is None or found.create_revision != session.beat_created
        session.beat_created = result.revision if is_new else session.beat_created
        session.beat_modified = result.revision
        session.lease = None  # what the store says of it is of the past, too
        return True

    async def _make_record(
        self, session: Session, found: KeyValue | None, sent_at: float
    ) -> tuple[HistoryRecord, Revision]:
        known = await self._store.get(self._keys.history)
        settle_s = session.timing.dead_after_s
        if known is not None:
            settle_s = max(settle_s, decode(HistoryRecord, known.value, where=known.key).settle_s)
        beat = read_beat(found)
        if beat is not None and beat.session == session.id:
            why = f"it holds a beat of {self._node} that is {session.sent_at - beat.sent_at:.0f} s older than its last"
        else:
            why = f"it does not know session {session.id} of {self._node}, and nobody has ended it"
        record = HistoryRecord(
            id=f"{session.id}-{round(sent_at * 1000)}",
            by=self._node,
            at=self._clock.wall(),
            why=why,
            settle_s=settle_s,
        )
        return record, known.mod_revision if known else Revision(0)
