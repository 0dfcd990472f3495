"""The product's own code, asked one question at a time, with what it answered remembered.

Nothing is decided here: snapshots come from the product's assembler, plans from ``policy.plan``, transactions from the
leader's executor and the agent's claims, sessions from the session keeper, deadlines from the guard's state machine,
and refusals of a start from the start gate. The same question has the same answer, so each is asked once.
"""

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from vmha.agent.agent import Agent
from vmha.agent.session import SessionKeeper
from vmha.fencing import gate as start_gate
from vmha.fencing.deadline import State as GuardState
from vmha.fencing.gate import START, Asked, Known
from vmha.hypervisor.files import LocalFiles
from vmha.leader.executor import Executor
from vmha.leader.leader import Leader
from vmha.model.errors import VmhaError
from vmha.model.ids import LeaseId, Revision, SessionId, Term
from vmha.model.keys import encode
from vmha.model.records import Stored
from vmha.policy.at_node.reconcile import Action
from vmha.policy.plan import plan
from vmha.policy.state.assemble import Assembler
from vmha.policy.state.snapshot import Moment, Snapshot
from vmha.policy.state.steps import Change, EvictSession, PlacementStep
from vmha.store.journal import Journal
from vmha.store.port import TxnResult

from .ports import (
    Ask,
    AskedClock,
    AskedGate,
    AskedGuard,
    AskedHypervisor,
    AskedPower,
    AskedStore,
    Left,
    StandingMirror,
    drive,
    guest_view,
)
from .state import Answer, Slot, Standing, Txn, Work, find
from .store import commit
from .translate import (
    LONG_UNCLAIMED_S,
    GuardIs,
    Identity,
    adopt,
    agents_view,
    ask_guard,
    deadline_of,
    inventory_of,
    key_value,
    leave_open,
    own_view,
    reply_to,
    result_of,
    session_of,
    standing_of,
    told,
    transaction,
)
from .values import (
    BEAT,
    BYTES,
    HOLD,
    KEYS,
    NODES,
    NOW,
    PLACEMENT,
    PREFIX,
    RECORDS,
    SPEC,
    UUID,
    VM,
    config,
)


class Opened(NamedTuple):
    """What an attempt to open a session has done so far. ``session`` None: not opened (yet)."""

    store: tuple[Slot, ...]
    guard: GuardIs
    session: Standing | None = None


class Worked(NamedTuple):
    """A worker up to its next open question; ``work`` None: it is done."""

    work: Work | None
    guest: int
    granted: tuple[int, str]


class Beaten(NamedTuple):
    modified: int
    age: int
    armed: bool
    over: bool
    guard: GuardIs


class Product:
    """A cluster of ``nodes`` nodes; keeps what it was answered."""

    def __init__(self, nodes: int, margin: int) -> None:
        self.nodes, self.margin, self.config = NODES[:nodes], margin, config(margin)
        self._known: dict[Any, Any] = {}

    def _remembered(self, question: tuple[Any, ...], ask: Callable[..., Any]) -> Any:
        try:
            return self._known[question]
        except KeyError:
            answer = self._known[question] = ask(*question[1:])
            return answer

    # --- readings

    def snapshot(self, store: tuple[Slot, ...]) -> Snapshot:
        return self._remembered(("snapshot", store), self._assemble)

    def _assemble(self, store: tuple[Slot, ...]) -> Snapshot:
        assembler = Assembler(KEYS)
        for key, value in ((KEYS.config, self.config), (KEYS.vm_spec(VM), SPEC)):
            assembler.put(key, encode(value), created=Revision(1), modified=Revision(1), lease=LeaseId(0))
        for slot in store:
            assembler.put(
                PREFIX + slot.key,
                BYTES[slot.value],
                created=Revision(slot.created),
                modified=Revision(slot.modified),
                lease=LeaseId(0),
            )
        return assembler.snapshot(Revision(1))

    # --- the leader

    def plan(
        self, store: tuple[Slot, ...], at: int, term: int, silence: tuple[int, ...], unclaimed: bool
    ) -> tuple[Txn, ...]:
        """The transactions of the leader's plan. Steps that only note why a vm waits are left out."""
        return self._remembered(("plan", store, at, term, silence, unclaimed), self._plan)

    def _plan(
        self, store: tuple[Slot, ...], at: int, term: int, silence: tuple[int, ...], unclaimed: bool
    ) -> tuple[Txn, ...]:
        snapshot = self.snapshot(store)
        moment = Moment(
            now=NOW,
            wall=NOW,
            observer=self.nodes[at],
            silence_s={node: float(quiet) for node, quiet in zip(self.nodes, silence, strict=True)},
            unclaimed_s={VM: LONG_UNCLAIMED_S} if unclaimed else {},
        )
        found = []
        for step in plan(snapshot, moment).steps:
            match step:
                case PlacementStep(change=change) if change is not Change.NOTE:
                    label = f"{change} {step.placement.node}" if step.placement else str(change)
                case EvictSession():
                    label = f"evict {step.node} ({step.proof})"
                case _:
                    continue
            found.append(self._step(step, snapshot, at, term, label))
        return tuple(found)

    def _step(self, step: Any, snapshot: Snapshot, at: int, term: int, label: str) -> Txn:
        store, clock, node = AskedStore(), AskedClock(), self.nodes[at]
        journal = Journal(store, KEYS, clock, node, days=lambda: 7)
        executor = Executor(store=store, keys=KEYS, clock=clock, node=node, term=Term(term), journal=journal)
        question, _ = drive(executor.write(step, snapshot), leave_open)
        assert question
        return transaction(label, question)

    def campaign(self, store: tuple[Slot, ...], at: int, standing: Standing) -> Txn | int:
        """The transaction by which the node would lead, or the term in which it leads already; 0: neither."""
        leader = tuple(slot for slot in store if slot.key == "leader")
        return self._remembered(("campaign", leader, at, standing._replace(age=0, modified=0)), self._campaign)

    def _campaign(self, store: tuple[Slot, ...], at: int, standing: Standing) -> Txn | int:
        mirror = StandingMirror(self.snapshot(store))
        session = session_of(standing)
        leader = Leader(
            store=AskedStore(),
            keys=KEYS,
            clock=AskedClock(),
            mirror=mirror,  # type: ignore[arg-type]
            node=self.nodes[at],
            power=AskedPower(),
            read_session=lambda: session,
            store_live_s=lambda: 100.0,
        )
        question, term = drive(leader._campaign(), leave_open)
        return transaction(f"{self.nodes[at]} leads", question) if question else (term or 0)

    # --- the session

    def open(
        self, at: int, store: tuple[Slot, ...], guard: GuardIs, boot: int, guest: int, at_rest: bool, fresh: str
    ) -> tuple[Opened, ...]:
        """What opening a session does, call by call: a crash may come after any of them."""
        mine = tuple(slot for slot in store if slot.key == BEAT[at] or slot.key.startswith("fencing/"))
        stages = self._remembered(("open", at, mine, guard, boot, guest, at_rest, fresh), self._open)
        rest = tuple(slot for slot in store if slot not in mine)
        return tuple(one._replace(store=tuple(sorted((*rest, *one.store)))) for one in stages)

    def _open(
        self, at: int, store: tuple[Slot, ...], guard: GuardIs, boot: int, guest: int, at_rest: bool, fresh: str
    ) -> tuple[Opened, ...]:
        stages = [Opened(store, guard)]

        def answer(ask: Ask) -> Any:
            here = stages[-1]
            reply: Any
            if ask.what == "get":
                reply, then = key_value(find(here.store, ask.args[0].removeprefix(PREFIX))), here
            elif ask.what == "txn":
                after, succeeded, revision = commit(here.store, transaction("open", ask))
                reply, then = result_of(succeeded, revision), here._replace(store=after)
            else:
                is_now, reply = ask_guard(here.guard, ask, guest)
                then = here._replace(guard=is_now)
            stages.append(then)
            return reply

        keeper = self._keeper(at, AskedClock(), boot=boot, fresh=fresh, at_rest=at_rest)
        try:
            _, session = drive(keeper._open(), answer)
        except VmhaError:
            return tuple(stages)
        return (*stages, stages[-1]._replace(session=standing_of(session, NOW)))

    def send_beat(self, at: int, standing: Standing, boot: int) -> Txn | None:
        """The transaction of the next beat; None: the agent finds that its session is over."""
        return self._remembered(("send", at, standing, boot), self._send_beat)

    def _send_beat(self, at: int, standing: Standing, boot: int) -> Txn | None:
        session = session_of(standing, self.config.clockwork)
        question, _ = drive(self._keeper(at, AskedClock(), boot=boot)._beat_on(session), leave_open)
        return transaction(f"beat of {self.nodes[at]}", question) if question and question.what == "txn" else None

    def end_beat(
        self,
        at: int,
        standing: Standing,
        boot: int,
        guard: GuardIs,
        age: int,
        revision: int,
        found: Slot | None,
        guest: int,
    ) -> Beaten:
        """The answer to a beat that was sent ``age`` ticks ago, when the session stood as ``standing`` says.

        ``revision`` 0: it was refused, and ``found`` is what stands there instead.
        """
        if revision:  # any number will do, and one that was asked for before is known
            done = self._remembered(("end", at, standing, boot, guard, age, 1, None, guest), self._end_beat)
            return done._replace(modified=revision)
        return self._remembered(("end", at, standing, boot, guard, age, 0, found, guest), self._end_beat)

    def _end_beat(
        self,
        at: int,
        standing: Standing,
        boot: int,
        guard: GuardIs,
        age: int,
        revision: int,
        found: Slot | None,
        guest: int,
    ) -> Beaten:
        session, clock, is_now, is_sent = session_of(standing, self.config.clockwork), AskedClock(), guard, False

        def answer(ask: Ask) -> Any:
            nonlocal is_now, is_sent
            if ask.what == "txn" and not is_sent:
                is_sent = True
                clock.at += age
                if revision:
                    return result_of(True, revision)
                return TxnResult(succeeded=False, revision=Revision(0), found={PREFIX + BEAT[at]: key_value(found)})
            if ask.what in ("txn", "sleep"):
                raise Left
            is_now, reply = ask_guard(is_now, ask, guest, shift=float(age))
            return reply

        drive(self._keeper(at, clock, boot=boot)._beat_on(session), answer)
        after = standing_of(session, NOW + age)
        return Beaten(after.modified, min(after.age, HOLD), after.armed, after.over, is_now)

    def end_session(self, at: int, standing: Standing, guard: GuardIs) -> GuardIs:
        """The agent tells the guard that its session is over."""
        return self._remembered(("over", at, standing, guard), self._end_session)

    def _end_session(self, at: int, standing: Standing, guard: GuardIs) -> GuardIs:
        is_now = guard

        def answer(ask: Ask) -> Any:
            nonlocal is_now
            is_now, reply = ask_guard(is_now, ask, 0)
            return reply

        drive(self._keeper(at, AskedClock())._end_guests(session_of(standing)), answer)
        return is_now

    # --- the inventory and the status

    def publish(self, at: int, store: tuple[Slot, ...], standing: Standing, published: int, guest: int) -> Txn | None:
        """The next thing the agent would publish: its inventory, then its status, then the end of former sessions."""
        view = own_view(store, at)
        return self._remembered(
            ("publish", at, view, standing._replace(age=0, modified=0), published, guest), self._publish
        )

    def _publish(self, at: int, view: tuple[Slot, ...], standing: Standing, published: int, guest: int) -> Txn | None:
        node = self.nodes[at]
        for what in ("inventory", "status", "predecessors"):
            agent = self._agent(at, view, standing, published, guest)
            work: Coroutine[Any, Any, Any] = {
                "inventory": agent.inventory._look_and_publish,
                "status": agent.account.publish,
                "predecessors": agent.account.answer_for_predecessors,
            }[what]()
            if what != "inventory" and published != guest:
                work.close()
                return None
            question, _ = drive(work, inventory_of(view, guest))
            if question:
                txn = transaction(f"{what} of {node}", question)
                if any((find(view, key) or Slot(key, 0, 0, 0)).value != value for key, value in txn.ops):
                    return txn
                if what == "inventory" and published != guest:
                    return txn
            elif what == "inventory" and published != guest:
                return Txn(f"{what} of {node}", (), ())  # nothing to write, but now it counts as published
        return None

    # --- the worker

    def decide(
        self, at: int, store: tuple[Slot, ...], standing: Standing, published: int, guest: int
    ) -> tuple[str, Slot | None]:
        """What the agent would do about the vm, and the placement it decided on."""
        view = agents_view(store)
        standing = standing._replace(age=0, created=0, modified=0)
        return self._remembered(("decide", at, view, standing, published, guest), self._decide)

    def _decide(
        self, at: int, view: tuple[Slot, ...], standing: Standing, published: int, guest: int
    ) -> tuple[str, Slot | None]:
        agent = self._agent(at, view, standing, published, guest)
        snapshot = self.snapshot(view)
        seen = snapshot.vms.get(VM)
        action = agent._outlook.decide(VM, seen, seen.placement if seen else None, snapshot)
        return str(action), find(view, PLACEMENT)

    def work(
        self, at: int, action: str, read: Slot | None, answers: tuple[Answer, ...], standing: Standing, guest: int
    ) -> Worked:
        """Go on with ``action`` after ``answers``, as far as nobody can step in."""
        return self._remembered(("work", at, action, read, answers, standing, guest), self._work)

    def _work(
        self, at: int, action: str, read: Slot | None, answers: tuple[Answer, ...], standing: Standing, guest: int
    ) -> Worked:
        agent = self._agent(at, (), standing, guest, guest)
        keeper, gate, earlier, here = agent._ports.keeper, agent._ports.gate, list(answers), guest
        given: list[Answer] = []
        granted = (0, "")

        def answer(ask: Ask) -> Any:
            nonlocal here, granted
            if earlier:
                now = earlier.pop(0)
            elif ask.what == "inventory":
                now = Answer("inventory", True, 0, here, standing)
            elif ask.what == "destroy":
                here, now = 0, Answer("destroy", True, 0, 0, standing)
            elif ask.what == "set_tag":
                here, now = ask.args[0], Answer("set_tag", True, 0, 0, standing)
            elif ask.what == "sleep":
                now = Answer("sleep", True, 0, 0, standing)
            else:
                granted = gate.granted or (0, "")  # type: ignore[attr-defined]
                raise Left
            given.append(now._replace(standing=told(now.standing)))
            adopt(keeper, now.standing)
            return reply_to(now, ask)

        placement = None
        if read:
            placement = Stored(RECORDS[read.value], Revision(read.created), Revision(read.modified))
        if earlier:
            adopt(keeper, earlier[0].standing)  # as it stood when this began
        question = None
        with contextlib.suppress(VmhaError, AssertionError):
            question, _ = drive(agent._worker.do(Action(action), placement, VM, SPEC), answer)
        if question is None:
            return Worked(None, here, (0, ""))
        start = int(str(question.args[0]).partition('epoch="')[2].partition('"')[0]) if question.what == "start" else 0
        txn = transaction(f"{action} by {self.nodes[at]}", question) if question.what == "txn" else None
        return Worked(Work(action, read, tuple(given), txn, start), here, granted)

    def ends_when_refused(self, at: int, work: Work, guest: int) -> bool:
        """Does the worker give up, and touch nothing, when its transaction is refused?"""
        return self._remembered(("refused", at, work, guest), self._ends_when_refused)

    def _ends_when_refused(self, at: int, work: Work, guest: int) -> bool:
        for standing in (work.answers[-1].standing if work.answers else Standing("", 0, 0, 0, False, False),):
            answers = (*work.answers, Answer("txn", False, 0, 0, standing))
            if self._work(at, work.action, work.read, answers, standing, guest) != Worked(None, guest, (0, "")):
                return False
        return True

    def refusal(self, guard: GuardIs, granted: tuple[int, str], epoch: int) -> str:
        """Why the start gate refuses a start under ``epoch``; '' when it lets it through."""
        armed = guard[0] == GuardState.ARMED
        known = Known(
            cluster="m",
            managed=frozenset({UUID}),
            granted_epoch=granted[0] or None,
            granted_session=granted[1],
            armed_session=guard[1] if armed else "",
            kill_at=deadline_of(guard).kill_at if armed else 0.0,
        )
        return start_gate.judge(START, Asked(name=VM, uuid=UUID, tag_cluster="m", tag_epoch=epoch), known, NOW)

    # --- the objects

    def _keeper(
        self, at: int, clock: AskedClock, *, boot: int = 1, fresh: str = "", at_rest: bool = True
    ) -> SessionKeeper:
        return SessionKeeper(
            store=AskedStore(),
            keys=KEYS,
            clock=clock,
            guard=AskedGuard(),  # type: ignore[arg-type]
            identity=Identity(self.nodes[at], f"b{boot}", fresh),
            read_config=lambda: self.config,
            list_managed=lambda: (),
            is_at_rest=lambda: at_rest,
            is_empty=_nothing_comes_in,
            on_change=lambda: None,
        )

    def _agent(self, at: int, view: tuple[Slot, ...], standing: Standing, published: int, guest: int) -> Agent:
        clock, mirror = AskedClock(), StandingMirror(self.snapshot(view))
        keeper = self._keeper(at, clock)
        adopt(keeper, standing)
        agent = Agent(
            store=AskedStore(),
            keys=KEYS,
            clock=clock,
            mirror=mirror,  # type: ignore[arg-type]
            hypervisor=AskedHypervisor(),  # type: ignore[arg-type]
            keeper=keeper,
            gate=AskedGate(),
            files=LocalFiles(),  # its vm has its definition in the store
            migration_uri="",
            address="",
            migration_address="",
        )
        for lasting in (agent._outlook._duplicate, agent._outlook._answering, agent._outlook._standing):
            lasting._since[VM] = NOW - 1000.0  # rests are not modelled: whatever is so has been so for long
        agent.inventory._on_change = lambda vms: None
        drive(agent.inventory.refresh(), inventory_of(view, guest))
        agent.inventory.looked_for = Revision(1)
        if published >= 0:
            agent.inventory._published_in = (SessionId(standing.session), agent.inventory.history)
            for seen in guest_view(published) if keeper.current else ():
                session = keeper.current
                agent.inventory._published = {VM: agent.inventory._observe(VM, seen, session, since=NOW)}
        return agent


async def _nothing_comes_in() -> bool:
    """What a host has when it has booted: nothing is migrated in these clusters."""
    return True
