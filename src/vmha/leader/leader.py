"""The leader: one of the agents, elected by creating the leader key on its session's lease.

    wait until nobody leads --create the key--> term = its create revision --> plan, write, wait for a change, again
    until: the key is not ours (a compare says so, or the mirror shows it), or our session is over

Everything it knows is in etcd and in the mirror; a new leader goes on where the last one stopped. Only two things are
remembered in this process: which power cuts are under way, and since when the mass-loss brake holds.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import structlog

from vmha.fencing.power import PowerSwitch
from vmha.leader import traces
from vmha.leader.ages import Ages
from vmha.leader.executor import Deposed, Executor
from vmha.leader.fencing import PowerCuts
from vmha.leader.power_on import PowerOns
from vmha.leader.survival import SurvivalWatch
from vmha.leader.unclaimed import Unclaimed
from vmha.leader.waits import Waits
from vmha.model.clock import Clock
from vmha.model.errors import VmhaError
from vmha.model.histogram import CALL_S, Histogram
from vmha.model.ids import LeaseId, NodeName, Revision, SessionId, Term, VmName
from vmha.model.keys import Keys, decode, encode, split_key
from vmha.model.records import LeaderRecord
from vmha.policy.members.failsafe import LATE_BEATS, who_should_lead
from vmha.policy.members.membership import Verdict, has_leader_vanished, late_in_s
from vmha.policy.plan import judge_all
from vmha.policy.planner import Planner
from vmha.policy.state.snapshot import Moment, PeersSay, Snapshot, VmView
from vmha.policy.state.steps import FenceNode, GiveBackStorage, Plan, PowerOn, Step
from vmha.store.bell import Bell
from vmha.store.journal import Journal
from vmha.store.mirror import Mirror
from vmha.store.port import Ambiguous, Created, Delete, Put, Store

log = structlog.get_logger(__name__)

CAMPAIGN_RETRY_S = 0.5
LONGEST_WAIT_S = 10.0
SHORTEST_WAIT_S = 0.02
RESIGN_PATIENCE = 10
"""A leader that gave its office away in vain keeps it for this many times ``dead_after_s``."""
GIVEN_UP_AT_ONCE = 500
PLANS_OFF_LOOP_FROM = 2000
"""From this many vms on a plan is made in a thread, so that beats are not late for it."""


class Standing(Protocol):
    """What leading needs of the node's session."""

    id: SessionId
    lease: LeaseId | None
    began_at: float  # no silence is counted from before that, when this process began the session

    @property
    def over(self) -> asyncio.Event: ...


class Leader:
    def __init__(
        self,
        *,
        store: Store,
        keys: Keys,
        clock: Clock,
        mirror: Mirror,
        node: NodeName,
        power: PowerSwitch,
        read_session: Callable[[], Standing | None],
        store_live_s: Callable[[], float],
        peers_say: Callable[[], PeersSay] = PeersSay,
        may_decide: Callable[[], bool] = lambda: True,
        may_lead: Callable[[], bool] = lambda: True,
        think: Callable[[Snapshot, Moment, dict[NodeName, Verdict]], Plan] | None = None,
        threads: bool = True,
    ) -> None:
        self._store, self._keys, self._clock, self._mirror = store, keys, clock, mirror
        self._node = node
        self._read_session, self._store_live_s = read_session, store_live_s
        self._peers_say = peers_say
        self._may_decide, self._may_lead = may_decide, may_lead
        self._planner = Planner()
        self._think, self._threads = think or self._planner.plan, threads
        self._prefix = keys.prefix
        self._wake = Bell()
        self.cuts = PowerCuts(node=node, power=power, clock=clock, wake=self.look_again)
        self._power_ons = PowerOns(node=node, power=power, clock=clock, wake=self.look_again)
        self._braked_since: float | None = None
        self._survival = SurvivalWatch(clock, threads=threads)
        self._unclaimed, self._ages, self._waits = Unclaimed(), Ages(), Waits()
        self._has_counted = False  # all that has come and gone until now; beats do not
        self.plan_took = Histogram(CALL_S)
        self._vacant_since: float | None = None
        self._resigned_at = float("-inf")
        self.term: Term | None = None
        self._follows = False
        self._unwell: frozenset[NodeName] = frozenset()
        self._verdicts: dict[NodeName, Verdict] = {}  # as they were for the last plan
        self._stands_until = float("-inf")  # and for so long that plan would be made again, unless something changes
        mirror.subscribe(self._keys_changed)

    def look_again(self) -> None:
        self._wake.set()

    def _keys_changed(self, keys: tuple[str, ...]) -> None:
        """Beats that only count on change no decision; planning for each would be most work.

        Who follows a leader that beats is woken by a change of office, and else looks every ``CAMPAIGN_RETRY_S``: each
        change would wake every node of the cluster.
        """
        is_news = False
        for key in keys:
            match split_key(self._prefix, key):
                case ("nodes", node, "beat"):  # by far the most
                    is_news = is_news or not (self._follows or self._is_routine(NodeName(node)))
                    continue
                case ("leader",):
                    is_news = True
                case ("vms", vm, "placement"):
                    self._unclaimed.changed(VmName(vm))
                    is_news = is_news or not self._follows
                case _:
                    is_news = is_news or not self._follows
            self._has_counted = False
        if is_news:
            self._wake.set()

    def _is_routine(self, node: NodeName) -> bool:
        """The node was well, and goes on beating."""
        beat = self._mirror.beat(node) if node not in self._unwell else None
        return beat is not None and beat.created != beat.modified

    async def run(self) -> None:
        """Campaign, lead, campaign again. Returns only by cancellation."""
        await self._mirror.synced.wait()
        while True:
            self._wake.clear()
            try:
                term = await self._campaign()
                if term is not None:
                    await self._lead(term)
            except VmhaError as error:
                log.warning("not leading", why=str(error))
            self.term = None
            await self._wake.wait(CAMPAIGN_RETRY_S)

    async def resign(self) -> None:
        """Give the office away (an orderly exit): the next leader need not wait for the lease."""
        if self.term is not None:
            with suppress(VmhaError):
                await self._store.txn([Created(self._keys.leader, Revision(self.term))], [Delete(self._keys.leader)])

    # --- election

    async def _campaign(self) -> Term | None:
        self._follows = False
        session = self._read_session()
        lease = session.lease if session is not None else None  # it may be gone after any await; the key must have one
        if session is None or lease is None or session.over.is_set():
            return None
        leader = self._mirror.leader
        if not self._may_lead():
            if leader is not None and leader.value.session == session.id:  # the process before this one was younger
                await self._store.txn([Created(self._keys.leader, leader.created)], [Delete(self._keys.leader)])
            return None
        if leader is not None:
            self._vacant_since = None
            if leader.value.session == session.id:
                return Term(leader.created)
            if self._has_just_beaten(leader.value.node):
                if not self._has_counted:
                    self._count_along(self._clock.now())
                self._follows = True
                return None  # most calls end here
            if not has_leader_vanished(self._mirror.snapshot(), self._moment()):
                return None
            log.warning("the leader has vanished: electing another before its lease ends", leader=leader.value.node)
            await self._store.txn([Created(self._keys.leader, leader.created)], [Delete(self._keys.leader)])
        if self._leaves_it_to_another():
            return None
        record = LeaderRecord(node=self._node, session=session.id, since=self._clock.wall())
        try:
            result = await self._store.txn(
                [Created(self._keys.leader, Revision(0))], [Put(self._keys.leader, encode(record), lease)]
            )
        except Ambiguous:
            return await self._find_own_term(session.id)
        if not result.succeeded:
            return None
        log.info("elected", term=result.revision)
        await self._mirror.caught_up(result.revision)
        return Term(result.revision)

    def _has_just_beaten(self, leader: NodeName) -> bool:
        """Then nothing could be concluded about it, whoever hears it or not (``has_leader_vanished``)."""
        late_s = self._mirror.config.clockwork.beat_s * LATE_BEATS
        return self._mirror.silence_of(leader) < late_s

    async def _find_own_term(self, session: SessionId) -> Term | None:
        kv = await self._store.get(self._keys.leader)
        if kv and decode(LeaderRecord, kv.value, where=kv.key).session == session:
            return Term(kv.create_revision)
        return None

    def _leaves_it_to_another(self) -> bool:
        """Another could conclude what we may not (policy/members/failsafe.py): it is given the time to step forward."""
        now = self._clock.now()
        if self._vacant_since is None:
            self._vacant_since = now
        snapshot = self._mirror.snapshot()
        is_its_turn = now - self._vacant_since < snapshot.config.clockwork.dead_after_s
        return is_its_turn and who_should_lead(snapshot, self._moment()) is not None

    def _still_leads(self, term: Term) -> bool:
        session, leader = self._read_session(), self._mirror.leader
        return (
            session is not None
            and self._may_lead()
            and not session.over.is_set()
            and leader is not None
            and leader.created == Revision(term)
        )

    # --- leading

    async def _lead(self, term: Term) -> None:
        self.term = term
        self._braked_since = None
        self._survival = SurvivalWatch(self._clock, threads=self._threads)
        self._waits = Waits()
        mirror = self._mirror
        journal = Journal(self._store, self._keys, self._clock, self._node, days=lambda: mirror.config.journal_days)
        executor = Executor(
            store=self._store, keys=self._keys, clock=self._clock, node=self._node, term=term, journal=journal
        )
        try:
            self._stands_until = float("-inf")
            while self._still_leads(term):
                self._wake.clear()
                may_decide = self._may_decide()
                wait_s = await self._once(executor) if may_decide else CAMPAIGN_RETRY_S
                if await self._wake.wait(wait_s) or not may_decide:
                    self._stands_until = float("-inf")
        except Deposed as error:
            log.warning("deposed", term=term, why=str(error))
        finally:
            self.cuts.end()
            self._power_ons.end()
            self._survival.end()
            log.info("does not lead any more", term=term)

    async def _once(self, executor: Executor) -> float:
        """One plan, carried out. Returns for how long nothing but a change can matter, in seconds."""
        snapshot, moment = self._mirror.snapshot(), self._moment()
        if other := self._find_better_leader(snapshot, moment):
            log.warning("giving the office away: another may conclude what this node may not", to=other)
            self._resigned_at = moment.now
            await self.resign()
            raise Deposed("resigned")
        if self._threads and len(snapshot.vms) >= PLANS_OFF_LOOP_FROM:
            await asyncio.sleep(0)  # of many nodes that was a few milliseconds, and so is what follows
            snapshot, moment = self._mirror.snapshot(), self._moment()
        verdicts = judge_all(snapshot, moment)
        self._unwell = frozenset(name for name, verdict in verdicts.items() if not verdict.is_alive)
        await self.cuts.look(snapshot, executor)
        if (wait_s := self._stands_for(snapshot, moment, verdicts)) is not None:
            if written := await self._survival.look(snapshot, moment, verdicts, executor):
                await self._mirror.caught_up(written)
                self._wake.set()
            return max(SHORTEST_WAIT_S, wait_s)
        began = self._clock.now()
        made = await self._plan(snapshot, moment, verdicts)
        self.plan_took.note(took_s := self._clock.now() - began)
        traces.planned(made, took_s)
        if made.braked and self._braked_since is None:
            self._braked_since = moment.now
            log.warning("most nodes fell silent at once: waiting for the network before anything is recovered")
        elif not made.mass_loss:
            self._braked_since = None
        for step in made.steps:
            if isinstance(step, FenceNode):
                self.cuts.begin(step, snapshot, executor)
            elif isinstance(step, GiveBackStorage):
                self.cuts.give_back(step, snapshot, executor)
            elif isinstance(step, PowerOn):
                self._power_ons.begin(step, snapshot, executor)
        rest: deque[Step] = deque(
            one for one in made.steps if not isinstance(one, FenceNode | GiveBackStorage | PowerOn)
        )
        waiting, is_news = deque(made.waiting), bool(made.steps)
        wait_s = LONGEST_WAIT_S if made.look_in_s is None else min(LONGEST_WAIT_S, made.look_in_s)
        stands_s = LONGEST_WAIT_S if made.wake_in_s is None else min(LONGEST_WAIT_S, made.wake_in_s)
        self._verdicts, self._stands_until = verdicts, moment.now + (0.0 if is_news else stands_s)
        del made
        written = await executor.carry_out(rest, snapshot)
        await _give_up(waiting)
        if is_news:
            self._survival.stirred(moment.now)
        else:
            written = await self._survival.look(snapshot, moment, verdicts, executor)
        if written:
            await self._mirror.caught_up(written)
            self._wake.set()
        return max(SHORTEST_WAIT_S, wait_s)

    def _stands_for(self, snapshot: Snapshot, moment: Moment, verdicts: dict[NodeName, Verdict]) -> float | None:
        """Most looks are at nodes that might have fallen silent and have not: for how long the last plan is good.

        None: another one is to be made.
        """
        left_s, late_s = self._stands_until - moment.now, late_in_s(snapshot, moment)
        if left_s <= 0 or verdicts != self._verdicts or (late_s is not None and late_s <= 0):
            return None
        return left_s if late_s is None else min(left_s, late_s)

    def _find_better_leader(self, snapshot: Snapshot, moment: Moment) -> NodeName | None:
        """Once in a while only: if nobody else steps forward, leading without that conclusion is better than nobody."""
        patience_s = RESIGN_PATIENCE * snapshot.config.clockwork.dead_after_s
        if self.cuts.sessions or moment.now - self._resigned_at < patience_s:
            return None
        return who_should_lead(snapshot, moment)

    async def _plan(self, snapshot: Snapshot, moment: Moment, verdicts: dict[NodeName, Verdict]) -> Plan:
        if self._may_take_long(snapshot.vms):
            return await asyncio.to_thread(self._make_plan, snapshot, moment, verdicts)
        return self._make_plan(snapshot, moment, verdicts)

    def _make_plan(self, snapshot: Snapshot, moment: Moment, verdicts: dict[NodeName, Verdict]) -> Plan:
        made = self._think(snapshot, moment, verdicts)
        self._waits.took(made, self._clock.now())
        return made

    def _may_take_long(self, vms: Mapping[VmName, VmView]) -> bool:
        """Also of a small cluster: room is searched for (room/packing.py, moving_aside.py) where a vm is astir."""
        return self._threads and (len(vms) >= PLANS_OFF_LOOP_FROM or bool(self._planner.census(vms).astir))

    def _moment(self) -> Moment:
        now, session = self._clock.now(), self._read_session()
        known_s = self._count_along(now)
        longest = now - session.began_at if session else 0.0
        return Moment(
            now=now,
            wall=self._clock.wall(),
            observer=self._node,
            peers=self._peers_say(),
            silence_s={node: min(silence, longest) for node, silence in self._mirror.silence_s().items()},
            store_live_s=self._store_live_s(),
            unsettled_s=self._mirror.unsettled_s(),
            fencing=self.cuts.sessions,
            fence_failed_at=dict(self.cuts.failed_at),
            powering_on=self._power_ons.sessions,
            power_on_failed_at=dict(self._power_ons.failed_at),
            braked_since=self._braked_since,
            known_s=known_s,
            waits_s=self._waits.at(now),
            unclaimed_s=self._unclaimed.at(now),
        )

    def _count_along(self, now: float) -> Mapping[str, float]:
        """Every agent counts how long it has known what, so that a new leader need not begin to count."""
        self._has_counted = True
        self._unclaimed.look(self._mirror.indexes.assigned, now)
        return self._ages.look(self._mirror.snapshot(), now)


async def _give_up(things: deque[Any]) -> None:
    """Of a plan for thousands of vms, what is not needed any more: given up all at once it would hold up the loop."""
    while len(things) > GIVEN_UP_AT_ONCE:
        for _ in range(GIVEN_UP_AT_ONCE):
            things.popleft()
        await asyncio.sleep(0)
