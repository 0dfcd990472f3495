"""The node's session: a lease for the others' suspicion, a beat for everybody's safety, a guard that counts along.

    open: take up the session that the guard still counts and etcd still knows, else begin a new one
    then: beat every beat_s by transaction (compare: our beat key is the one we created) --committed--> guard.beat
          renew the lease; a lease that is gone is granted anew: it says nothing about us
          while no beat commits: ask the peers (members/failsafe.py) --all promised--> guard.beat with that send time
    over: the compare failed (evicted), or the guard says expired --> the guard ends the guests, then: open

The deadline counts from the instant at which the last committed beat, or the last question to which all peers said
yes, was *sent*. This process only mirrors it; the guard keeps it, and acts on it when this process can not.

A beat compares the revision of the one before. One that was sent long ago and lay about in a member of the store can
then not be committed after a later one, with times and promisers that do not hold any more.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

import structlog

from vmha.agent.farewell import Farewell, IsEmpty
from vmha.agent.guard_watch import watch_guard
from vmha.agent.namesakes import Namesakes, NotYetError
from vmha.agent.outlive import NoPeers, Outliving, outlive
from vmha.agent.rejoin import Rejoin, is_of_the_past, is_ours, read_beat
from vmha.agent.session_state import BeatCount, Session, beat_timeout_s, guarded_only, taken_up
from vmha.fencing.port import Guard, GuardRefused, GuardStatus, GuardUnavailable, SessionExpired, State
from vmha.model.clock import Clock
from vmha.model.errors import Rejected, VmhaError
from vmha.model.ids import NodeName, Revision, SessionId
from vmha.model.keys import Keys, encode
from vmha.model.records import ArmedLevel, BeatRecord, FenceRecord, SessionRecord
from vmha.model.schema import FIRST, Software
from vmha.model.settings import ClusterConfig, Proof, Timing
from vmha.policy.members.failsafe import LATE_BEATS
from vmha.store.journal import Journal
from vmha.store.port import Created, Delete, KeyValue, LeaseGone, Modified, Op, Put, Store

log = structlog.get_logger(__name__)

RETRY_S = 0.5
MAY_START_RESERVE_S = 1.0
"""A start that is begun this close to the instant at which the guard kills would only be killed."""


class Identity(Protocol):
    """Who this agent is; the simulation hands in its own."""

    node: NodeName
    address: str
    boot_id: str
    host: str  # the machine, however it is called

    def new_session(self) -> SessionId: ...


class SessionKeeper:
    """Opens a session and keeps it. ``current`` is None between two sessions."""

    def __init__(
        self,
        *,
        store: Store,
        keys: Keys,
        clock: Clock,
        guard: Guard,
        identity: Identity,
        read_config: Callable[[], ClusterConfig],
        list_managed: Callable[[], Collection[str] | None],
        is_at_rest: Callable[[], bool],
        on_change: Callable[[], None],
        is_empty: Callable[[], Awaitable[bool]],
        read_listed_at: Callable[[], float] = lambda: 0.0,
        on_went_back: Callable[[], None] = lambda: None,
        peers: Outliving | None = None,
        on_bridged: Callable[[float], None] = lambda _: None,
        software: Software | None = None,
        read_schema: Callable[[], int] = lambda: FIRST,
        namesakes: Namesakes | None = None,
    ) -> None:
        self._namesakes = namesakes
        self._software, self._read_schema = software or Software(), read_schema
        self._peers, self._on_bridged = peers or NoPeers(), on_bridged
        self._store, self._keys, self._clock, self._guard = store, keys, clock, guard
        self._identity, self._read_config = identity, read_config
        self._list_managed, self._is_at_rest, self._on_change = list_managed, is_at_rest, on_change
        self._is_empty = is_empty
        self._read_listed_at = read_listed_at
        journal = Journal(store, keys, clock, identity.node, days=lambda: read_config().journal_days)
        self._rejoin = Rejoin(store, keys, clock, identity.node, journal, on_went_back)
        self.current: Session | None = None
        self.last_beats: dict[SessionId, Revision] = {}  # of our former sessions, as they were replaced
        self.beats = BeatCount()
        self._farewell = Farewell(store, keys, guard, identity.node, self._rejoin)

    @property
    def node(self) -> NodeName:
        return self._identity.node

    def why_too_old(self) -> str:
        """Why this agent does nothing but keep the session that it has; '': it acts (policy/members/schema.py)."""
        return self._software.why_too_old(self._read_schema())

    def store_live_s(self) -> float:
        """For how long our own beats have been committing without a gap; 0 without a session."""
        session = self.current
        if session is None or self._clock.now() - session.sent_at > session.timing.beat_s * 2 + 1.0:
            return 0.0
        return self._clock.now() - session.live_since

    def store_answers(self) -> bool:
        """Our own beats commit: the last one is not late."""
        session = self.current
        return session is not None and self._clock.now() < session.sent_at + session.timing.beat_s * LATE_BEATS

    def is_alive(self) -> bool:
        """We have a session, and the guard has not come to its deadline."""
        session = self.current
        if session is None or session.over.is_set():
            return False
        return self._clock.now() < session.held_at + session.timing.hold_s - session.timing.kill_lead_s

    def why_no_failsafe(self) -> str:
        """Why guests here would end with the store; '' when they would go on by the peers' promises."""
        return self._peers.terms().why_none

    def has_confirmed(self) -> bool:
        """A beat of ours that was sent after the mirror's newest listing has committed.

        The store that was listed is then the one that holds our last beat, and not one that was restored to an earlier
        state: such a listing is the past, and nothing may be decided on it.
        """
        return self.current is not None and self.current.sent_at >= self._read_listed_at()

    @property
    def confirmed(self) -> Session | None:
        """The session, while what was listed last may be decided on."""
        return self.current if self.has_confirmed() else None

    def may_start(self) -> bool:
        """Is there time left before the guard would end what is started now?"""
        session = self.current
        if session is None or session.over.is_set() or session.armed is ArmedLevel.NONE:
            return False
        kill_at = session.held_at + session.timing.hold_s - session.timing.kill_lead_s
        return self._clock.now() < kill_at - min(MAY_START_RESERVE_S, session.timing.hold_s / 8)

    async def run(self) -> None:
        """One session after another, until ``leave``. Cancelling leaves the session to the next process.

        Raises:
            TooOld: there is no session to keep, and this agent must not begin one.
        """
        while True:
            try:
                session = await self._open()
            except TooOld:
                raise
            except VmhaError as error:
                log.warning("no session yet", why=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            self.current = session
            log.info("session begins", session=session.id, resumed=session.resumed)
            self._on_change()
            try:
                await self._keep(session)
            finally:
                self.current = None
            log.warning("session is over", session=session.id, why=session.why_over)
            self._on_change()
            if self._farewell.is_said:
                return  # a new session would only have to be fenced when the power goes
            await self._end_guests(session)

    @property
    def has_left(self) -> bool:
        """In good order: it keeps no session any more."""
        return self._farewell.is_said

    def stay(self) -> None:
        """Leaving is given up (agent/farewell.py)."""
        self._farewell.take_back()

    async def leave(self, is_empty: IsEmpty) -> None:
        """End the session in good order (agent/farewell.py)."""
        if (session := self.current) is not None:
            await self._farewell.say(session, is_empty)

    # --- opening

    async def _open(self) -> Session:
        status = await self._guard.status()
        known = await self._store.get(self._keys.beat(self.node))
        beat = read_beat(known)
        if known and beat and status.state is State.ARMED and status.session == beat.session:
            session = taken_up(known, beat, status, self._read_config().clockwork, self._clock.now())
            if is_of_the_past(beat, session.sent_at):
                await self._take_up_in_the_past(session, known)
            return session
        if beat and beat.host and beat.host != self._identity.host:
            raise NotYetError(
                f"another machine calls itself {self.node}: give this one a name of its own (node = ... in its "
                f"settings), or, if it replaces that machine, wait until the cluster has fenced it"
            )
        unknown = guarded_only(status, self._read_config().clockwork, self._clock.now())
        if unknown and self._namesakes:
            self._namesakes.refuse_another_name(self.node, unknown.id)
        if unknown and not await self._rejoin.is_evicted(unknown):
            await self._take_up_in_the_past(unknown, known)
            return unknown
        await self._be_clean(status)
        if why := self.why_too_old():
            raise TooOld(why)
        if not self._is_at_rest():
            raise NotYetError("a start of the former session is still under way")
        if known is not None:
            if beat and self._namesakes:
                self._namesakes.refuse_the_living(known, beat)
            await self._replace(known, beat)
        return await self._begin()

    async def _take_up_in_the_past(self, session: Session, known: KeyValue | None) -> None:
        """The guard counts a session that the store does not know (any more), or knows as it was: restored."""
        sent_at = self._clock.now()
        session.count += 1
        if not await self._rejoin.write(session, known, self._beat(session, sent_at), sent_at=sent_at):
            raise NotYetError("the store was restored from a backup, and this session is not back in it yet")
        session.sent_at = sent_at
        await self._tell_guard(session)

    async def _be_clean(self, status: GuardStatus) -> None:
        """Before a new session: what an older one left running is ended, or was never ours to end."""
        if status.state is State.ARMED and status.session:
            await self._guard.expire(status.session, cause="its beat is gone from the store: evicted")
            raise NotYetError(f"the guard ends the guests of session {status.session}")
        if status.state is State.EXPIRED_KILLING:
            raise NotYetError(f"the guard has not verified yet that the guests of session {status.session} are gone")

    async def _replace(self, known: KeyValue, beat: BeatRecord | None) -> None:
        """Our own former session's beat: nothing commits under it any more, and nothing is handed over to it.

        If this machine has booted since, all of that session ended then. Only what libvirt's own switch has brought
        here after the boot, to a node that still seemed to live, may run in its name. A look shows it, now that nothing
        more can come; if nothing is here, that is put on record at once: this boot may end before it has published
        anything. Else the proof follows with the inventory.
        """
        ops: list[Op] = [Delete(known.key), Delete(self._keys.session(self.node))]
        if beat:
            self.last_beats[beat.session] = known.mod_revision
        is_over = await self._store.txn([Modified(known.key, known.mod_revision)], ops)
        has_booted = beat and beat.host == self._identity.host and beat.boot_id not in ("", self._identity.boot_id)
        if not (is_over.succeeded and beat and has_booted and await self._is_empty()):
            return
        record = FenceRecord(
            session=beat.session,
            node=self.node,
            proof=Proof.RELEASED,
            how=f"{self.node} has booted anew since",
            at=self._clock.wall(),
            by=self.node,
            last_beat=known.mod_revision,
        )
        key = self._keys.fencing(beat.session)
        await self._store.txn([Created(key, Revision(0))], [Put(key, encode(record))])

    async def _begin(self) -> Session:
        config = self._read_config()
        timing = config.clockwork
        sent_at = self._clock.now()
        session = Session(
            id=self._identity.new_session(),
            beat_created=Revision(0),
            beat_modified=Revision(0),
            count=1,
            sent_at=sent_at,
            timing=timing,
            live_since=sent_at,
            began_at=sent_at,
        )
        key = self._keys.beat(self.node)
        result = await self._store.txn([Created(key, Revision(0))], [Put(key, self._beat(session, sent_at))])
        if not result.succeeded:
            raise NotYetError("another session of this node was just begun")
        session.beat_created = session.beat_modified = result.revision
        await self._arm(session, timing)
        return session

    async def _arm(self, session: Session, timing: Timing) -> None:
        session.guard = await self._guard.arm(
            session.id,
            hold_s=timing.hold_s,
            kill_lead_s=timing.kill_lead_s,
            sent_at=session.held_at,
            committed_at=session.sent_at,
            watchdog_s=timing.watchdog_s,
            managed=self._list_managed(),
        )
        session.armed_with = timing

    def _beat(self, session: Session, sent_at: float) -> bytes:
        terms = self._peers.terms()
        if session.said[-1:] != [terms]:
            session.said.append(terms)
        return encode(
            BeatRecord(
                session=session.id,
                boot_id=self._identity.boot_id,
                host=self._identity.host,
                count=session.count,
                armed=session.armed,
                hold_s=session.timing.hold_s,
                dead_after_s=session.timing.dead_after_s,
                peers_address=self._peers.address,
                promisers=terms.promisers,
                failsafe_s=terms.at_most_s if terms.promisers else 0.0,
                sent_at=sent_at,
            )
        )

    # --- keeping

    async def _keep(self, session: Session) -> None:
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(self._beat_on(session), name="beat")
            leasing = tasks.create_task(self._lease_on(session), name="lease")
            watching = tasks.create_task(
                watch_guard(session, self._guard, tell=lambda: self._tell_guard(session), on_change=self._on_change),
                name="guard-watch",
            )
            outliving = tasks.create_task(
                outlive(session, self._peers, self._guard, self._clock, self._list_managed), name="outlive"
            )
            await session.over.wait()
            watching.cancel()
            beating.cancel()
            leasing.cancel()
            outliving.cancel()

    async def _beat_on(self, session: Session) -> None:
        while not session.over.is_set():
            sent_at = self._clock.now()
            if sent_at >= session.held_at + session.timing.hold_s:
                session.end(f"no beat committed, and nothing promised, for {sent_at - session.held_at:.1f} s")
                return
            session.hurry.clear()
            self._lengthen_hold(session)
            session.count += 1
            async with self._farewell.beat_key:
                is_committed = self.beats.note(await self._commit_beat(session, sent_at))
            if is_committed:
                await self._tell_guard(session)
                await self._shorten_hold(session)
            pause = session.timing.beat_s if session.sent_at == sent_at else RETRY_S / 5
            await session.hurry.wait(max(0.0, sent_at + pause - self._clock.now()))

    def _lengthen_hold(self, session: Session) -> None:
        """Settings changed. The guard must never hold longer than the beat that others have read promises: a longer
        hold goes into a committed beat first, and to the guard after that (``_tell_guard``).
        """
        wanted = self._read_config().clockwork
        if wanted.hold_s > session.timing.hold_s:
            log.info("timing changes", hold_s=wanted.hold_s, beat_s=wanted.beat_s)
            session.timing = wanted

    async def _shorten_hold(self, session: Session) -> None:
        """And a shorter one goes to the guard first, right after a beat: an older one could be past it already."""
        wanted = self._read_config().clockwork
        if wanted != session.timing and wanted.hold_s <= session.timing.hold_s:
            await self._arm_again(session, wanted)
            if session.armed_with == wanted:
                log.info("timing changes", hold_s=wanted.hold_s, beat_s=wanted.beat_s)
                session.timing = wanted

    async def _commit_beat(self, session: Session, sent_at: float) -> bool:
        key, beat = self._keys.beat(self.node), self._beat(session, sent_at)
        sent = len(session.said)
        try:
            result = await self._store.txn(
                [Modified(key, session.beat_modified)],
                [Put(key, beat)],
                timeout_s=beat_timeout_s(session.timing, session.held_at + session.timing.hold_s - sent_at),
                idempotent=True,
            )
        except VmhaError as error:
            log.warning("beat not committed", why=str(error))
            return False
        found = result.found.get(key)
        if not result.succeeded and not is_ours(session, found):
            if await self._farewell.was_said(session, found):
                return False
            if not await self._rejoin.after_lost_beat(session, found, beat, sent_at, host=self._identity.host):
                return False
        else:
            session.beat_modified = found.mod_revision if found else result.revision
            if found and found.value != beat:
                return False  # an earlier one of ours, whose answer was lost, is on record: the next goes on from there
        self._farewell.beat_committed()
        del session.said[: sent - 1]
        if sent_at - session.sent_at > session.timing.beat_s * 2 + 1.0:
            session.live_since = self._clock.now()
        if session.promised_at > session.sent_at:
            log.info("the store answers again", silent_s=round(sent_at - session.sent_at, 1))
            self._on_bridged(sent_at - session.sent_at)
        was_confirmed = self.has_confirmed()
        session.sent_at = sent_at
        if not was_confirmed and self.has_confirmed():
            self._on_change()
        return True

    async def _tell_guard(self, session: Session) -> None:
        before = session.armed
        try:
            if session.armed_with != session.timing:
                await self._arm_again(session, session.timing)
            else:
                session.guard = await self._guard.beat(
                    session.id,
                    sent_at=session.held_at,
                    committed_at=session.sent_at,
                    managed=self._list_managed(),
                )
        except SessionExpired as error:
            session.end(f"the guard: {error}")
        except GuardRefused:
            await self._arm_again(session, session.timing)
        except GuardUnavailable as error:
            log.warning("the guard does not answer", why=str(error))
            session.guard = None
        if session.armed is not before:
            self._on_change()

    async def _arm_again(self, session: Session, timing: Timing) -> None:
        """A guard that lost its memory, or counts with other times, takes the session up again; never one that has come
        to its deadline meanwhile.
        """
        try:
            await self._arm(session, timing)
        except SessionExpired as error:
            session.guard = None
            session.end(f"the guard: {error}")
        except VmhaError as error:
            log.warning("the guard is not armed", why=str(error))
            session.guard = None

    async def _lease_on(self, session: Session) -> None:
        """The lease is for suspicion and election only: its loss is mended, never obeyed."""
        while not session.over.is_set():
            try:
                if session.lease is None or session.lease_ttl_s != session.timing.lease_ttl_s:
                    await self._publish(session)
                else:
                    sent_at = self._clock.now()
                    await self._store.keep_alive(session.lease, timeout_s=session.timing.lease_ttl_s)
                    session.lease_renewed_at = sent_at
            except LeaseGone:
                log.warning("the lease is gone; taking a new one", session=session.id)
                session.lease = None
                self._on_change()
                continue
            except VmhaError as error:
                log.warning("lease not renewed", why=str(error))
                await asyncio.sleep(RETRY_S / 5)
                continue
            await asyncio.sleep(session.timing.lease_ttl_s / 4)

    async def _publish(self, session: Session) -> None:
        sent_at = self._clock.now()
        lease = await self._store.grant(session.timing.lease_ttl_s)
        record = SessionRecord(
            node=self.node,
            session=session.id,
            since=self._clock.wall(),
            version=self._software.version,
            address=self._identity.address,
            pid=os.getpid(),
            reads=self._software.reads,
        )
        result = await self._store.txn(
            [Created(self._keys.beat(self.node), session.beat_created)],
            [Put(self._keys.session(self.node), encode(record), lease.id)],
        )
        if result.succeeded:
            session.lease, session.lease_ttl_s = lease.id, session.timing.lease_ttl_s
            session.lease_renewed_at = sent_at
            self._on_change()

    async def _end_guests(self, session: Session) -> None:
        """Evicted, or too late: the guests must end now, whatever this process does next."""
        try:
            await self._guard.expire(session.id, cause=session.why_over)
        except VmhaError as error:
            log.warning("the guard was not told; it acts at its deadline", why=str(error))


class TooOld(Rejected):
    """The cluster is at a schema that this agent does not read, and nothing on this node depends on it."""
