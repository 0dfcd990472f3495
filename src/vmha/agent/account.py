"""What a node says of itself: its status, an outage it lived through, and what became of its former sessions.

Everything is written under the session's own beat, so that a node that was evicted says nothing any more.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from vmha.agent.inventory import Inventory
from vmha.agent.lasting import Lasting
from vmha.agent.ports import AgentPorts
from vmha.agent.session_state import Session
from vmha.fencing.port import GuardStatus
from vmha.hypervisor.port import HostCapacity
from vmha.model.by_hand import LEAVE, STAY
from vmha.model.errors import VmhaError
from vmha.model.ids import Epoch, Revision, SessionId, VmName
from vmha.model.keys import encode
from vmha.model.node_findings import EndedArrival, LeftOver
from vmha.model.records import ArmedLevel, FenceRecord, Hand, NodeStatus, Phase, Placement
from vmha.model.settings import Proof
from vmha.policy.deciding.leaving import TAKEN_FROM, Went, went_as_asked, where_it_went, why_departed
from vmha.policy.members.membership import former_sessions
from vmha.policy.state import transitions
from vmha.store.port import Compare, Created, LeaseGone, Modified, Op, Put

FAILSAFE = "failsafe"
"""The journal's word for an outage that was lived through."""
UNSHOWN_S = 30.0
"""What the target of a migration has not shown for so long, while it said what runs on it, has not come there."""
UNSAID_S = 60.0
"""The longest that others that the session held wait for a target that does not say what runs on it."""
ARRIVALS_AT_MOST = 100
"""So many are published: they are part of a record that is written anew with each change."""

_UNKNOWN = HostCapacity(memory_mib=0, vcpus=0, hypervisor="")


class Account:
    """``publish`` and ``answer_for_predecessors`` are asked for often and write only what is new.

    ``has_migrated``: whether this process knows that the migration that a placement asks for was done.
    """

    def __init__(
        self,
        ports: AgentPorts,
        inventory: Inventory,
        *,
        address: str,
        migration_address: str,
        read_left_overs: Callable[[], tuple[LeftOver, ...]] = tuple,
        has_migrated: Callable[[Placement], bool] = lambda _: False,
    ) -> None:
        self._has_migrated = has_migrated
        self._ports, self._inventory = ports, inventory
        self._address, self._migration_address = address, migration_address
        self._read_left_overs = read_left_overs
        self._capacity: HostCapacity | None = None
        self._unshown = Lasting(ports.clock, UNSHOWN_S, lambda _: None)  # the sweep comes by
        self._unsaid = Lasting(ports.clock, UNSAID_S, lambda _: None)
        self._waits_for = ""
        self._publishing = asyncio.Lock()
        self._news: list[tuple[str, str, Hand | None]] = []  # kind, text: for the journal, with the next status
        self.status: NodeStatus | None = None
        """What this node has last published of itself."""
        self.is_leaving = self.stops_vms = False
        self.gate_trouble = ""  # why the start gate does not know what it must

    def note_outage(self, silent_s: float) -> None:
        """The store answers again, and the guests here went on meanwhile: that goes into the journal."""
        text = (
            f"the store did not answer {self._ports.node} for {silent_s:.0f} s; all its peers promised to take "
            "nothing over, and no guest was ended"
        )
        self._news = [*(one for one in self._news if one[0] != FAILSAFE), (FAILSAFE, text, None)]

    def leave_is_asked(self, by: Hand | None) -> None:
        """That goes into the journal with the status that says so. None: nobody said who asks."""
        who = f"{by.author} has it" if by else "it is to"
        why = f": {by.why}" if by and by.why else ""
        self._news.append((LEAVE, f"{who} leave the cluster{why}", by))

    def stay_is_asked(self, by: Hand | None) -> None:
        """None: nobody said so; it could not leave."""
        text = f"{by.author} has it stay in the cluster" if by else "it could not leave the cluster, and stays"
        self._news.append((STAY, text, by))

    async def publish(self) -> None:
        """One at a time, so that nothing is told twice."""
        async with self._publishing:
            await self._publish()

    async def _publish(self) -> None:
        session = self._ports.keeper.current
        if session is None or session.over.is_set():
            return
        await self._learn_capacity()
        status = self._make_status(session)
        news = list(self._news)
        if status == self.status and not news:
            return
        ops: list[Op] = [Put(self._ports.keys.node_status(self._ports.node), encode(status))]
        if news:
            await self._ports.journal.refresh()
        ops += [self._ports.journal.entry(kind, text, node=self._ports.node, hand=hand) for kind, text, hand in news]
        beat = Created(self._ports.keys.beat(self._ports.node), session.beat_created)
        if await self._write([beat], ops):
            self.status = status
            self._news = [one for one in self._news if one not in news]

    def look_whether_it_stands(self) -> None:
        """A status whose answer was lost may come to the store late, over a later one: that is written again then."""
        view = self._ports.read_snapshot().nodes.get(self._ports.node)
        if view is not None and view.status is not None and view.status.value != self.status:
            self.status = None

    async def _learn_capacity(self) -> None:
        if self._capacity is None:
            with suppress(VmhaError):
                self._capacity = await self._ports.hypervisor.capacity()

    def _make_status(self, session: Session) -> NodeStatus:
        why_not = self._why_not_eligible(session)
        is_published = self._inventory.is_published(session)
        capacity = self._capacity or _UNKNOWN
        return NodeStatus(
            node=self._ports.node,
            session=session.id,
            eligible=not why_not,
            why_not=why_not,
            armed=session.armed,
            address=self._address,
            migration_address=self._migration_address,
            leaving=self.is_leaving,
            stops_vms=self.stops_vms,
            notes=(*(session.guard.notes if session.guard else ()), *self._other_notes()),
            history=self._inventory.history if is_published else "",
            looked_for=self._inventory.looked_for if is_published else Revision(0),
            store_id=self._ports.store.cluster_id,
            memory_mib=capacity.memory_mib,
            vcpus=capacity.vcpus,
            hypervisor=capacity.hypervisor,
            left_overs=self._read_left_overs(),
            ended_arrivals=self._ended_arrivals(session.guard),
        )

    def _ended_arrivals(self, guard: GuardStatus | None) -> tuple[EndedArrival, ...]:
        """What the guard ended, when it last came to its deadline, before anybody had let it go: nothing else remembers
        that it came.
        """
        kill = guard.last_kill if guard else None
        if kill is None or kill.verified_at is None:
            return ()
        session = SessionId(kill.session)
        last_beat = self._ports.keeper.last_beats.get(session, Revision(0))
        return tuple(
            EndedArrival(vm=VmName(ended.vm), epoch=Epoch(ended.came_in), session=session, last_beat=last_beat)
            for ended in kill.guests
            if ended.came_in is not None
        )[:ARRIVALS_AT_MOST]

    def _why_not_eligible(self, session: Session) -> str:
        if why := self._ports.keeper.why_too_old():
            return f"has an agent that is too old: {why}"
        if session.armed is ArmedLevel.NONE:
            return "has no guard armed"
        if self._inventory.trouble:
            return f"has no working hypervisor: {self._inventory.trouble}"
        if not self._inventory.is_published(session):
            return "has not published its inventory yet"
        return ""

    def _other_notes(self) -> tuple[str, ...]:
        why = self._ports.keeper.why_no_failsafe()
        failsafe = f"no failsafe: {why}" if why else ""
        gate = f"the start gate is not up to date: {self.gate_trouble}" if self.gate_trouble else ""
        return tuple(filter(None, (failsafe, gate, self._waits_for)))

    async def answer_for_predecessors(self) -> None:
        """Claims of this node's former sessions: the inventory of this one says what became of their guests.

        Only after it is published: whoever reads the proof then also reads what still runs here.
        """
        session = self._ports.keeper.current
        if session is None or session.over.is_set() or not self._inventory.is_published(session):
            return
        if self._ports.keeper.why_too_old():
            return  # what those sessions held may be among what this agent can not read
        node, self._waits_for = self._ports.node, ""
        for former in former_sessions(self._ports.mirror, node, session.id, vms=self._ports.mirror.indexes.on(node)):
            if await self._is_departures_told(former, session):
                await self._release(former, session)

    async def remembers_departures(self) -> bool:
        """Whether a vm that a session of this node held was taken away by a migration that is not on record."""
        for name, vm in self._ports.mirror.vms.items():
            held = vm.placement.value if vm.placement else None
            if held is None or held.node != self._ports.node or held.phase not in TAKEN_FROM:
                continue
            if transitions.is_its_departure(held, await self._ports.hypervisor.recall_migration(name)):
                return True
        return False

    async def _is_departures_told(self, former: SessionId, session: Session) -> bool:
        """A guest that a hand took away while no agent was here does not run here, and may run where it was sent to.

        Released by our word alone, it would be started again although nobody has seen it end. False: try again.
        """
        reading = self._inventory.reading
        for name, vm in self._ports.mirror.vms.items():
            held = vm.placement
            is_its = held is not None and (held.value.node, held.value.session) == (self._ports.node, former)
            if held is None or not is_its or held.value.phase not in TAKEN_FROM:
                continue
            local = reading.local(name) if reading else None
            if reading is None or (local is not None and not self._inventory.is_beside_its_own(name)):
                continue
            try:
                left = await self._ports.hypervisor.recall_migration(name)
            except VmhaError as error:
                self._waits_for = f"what {former} held waits until it is known how {name} ended here: {error}"
                return False
            if not transitions.is_its_departure(held.value, left):
                continue
            went = self._has_migrated(held.value) or went_as_asked(vm, held, self._ports.read_snapshot())
            where = self._where(held.value, went)
            if where is Went.AS_ASKED:
                continue
            if where is Went.NOT_SAID:
                self._waits_for = (
                    f"what {former} held waits until {held.value.target} says whether {name} has come there, "
                    f"for up to {UNSAID_S:g} s"
                )
                return False
            why = why_departed(held.value, where)
            new = transitions.depart(held.value, why, self._ports.clock.wall())
            await self._ports.journal.refresh()
            entry = self._ports.journal.entry("departed", why, vm=name, node=self._ports.node, cause=new.reason.cause)
            key = self._ports.keys.placement(name)
            beat = Created(self._ports.keys.beat(self._ports.node), session.beat_created)
            compares: list[Compare] = [beat, Modified(key, held.modified)]
            if not await self._write(compares, [Put(key, encode(new)), entry]):
                return False
            self._where(held.value, True)
        return True

    def _where(self, held: Placement, went: bool | None) -> Went:
        """What is not known is counted: others that the session held wait meanwhile, and for a target that says
        nothing, or now and then, they would wait for ever.
        """
        is_asked = held.phase is Phase.MIGRATING
        return where_it_went(
            held,
            went,
            is_unshown=self._unshown.has_lasted(held.vm, is_asked and went is False),
            is_unsaid=self._unsaid.has_lasted(held.vm, is_asked and not went),
        )

    async def _write(self, compares: list[Compare], ops: list[Op]) -> bool:
        """False: not done. An entry of the journal goes with it, whose lease a restored store may not know."""
        try:
            return (await self._ports.store.txn(compares, ops)).succeeded
        except LeaseGone:
            self._ports.journal.forget_lease()
            raise

    async def _release(self, former: SessionId, session: Session) -> None:
        record = FenceRecord(
            session=former,
            node=self._ports.node,
            proof=Proof.RELEASED,
            how=f"{self._ports.node} began session {session.id} and has published what runs on it",
            at=self._ports.clock.wall(),
            by=self._ports.node,
            last_beat=self._ports.keeper.last_beats.get(former, Revision(0)),
        )
        key = self._ports.keys.fencing(former)
        await self._ports.store.txn(
            [Created(self._ports.keys.beat(self._ports.node), session.beat_created), Created(key, Revision(0))],
            [Put(key, encode(record))],
        )
