"""Of any cluster, however it came about: a leader may die between any two steps, and the laws still hold.

Hypothesis draws a cluster and a life of it: plans of which only the first steps get written before another leader
takes over, agents that claim, start, stop, crash and move, nodes that fall silent, come back, or are proven off. The
commits of that life go to the same checker that judges the simulation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.clusters import KEYS, LOST_S, SETTINGS, SUSPECT_S, Book, cluster
from vmha.leader.leader import LONGEST_WAIT_S
from vmha.model.health import Probe
from vmha.model.holds import Hold, PauseMode
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Failure, Health, HealthState, Phase, Placement, RemovedVm, RunEnd, SeenState, Verb
from vmha.model.relations import Dependency, Need
from vmha.model.settings import AtShutdown, HostShutdown, MakeRoom, Proof, Rebalance
from vmha.model.vm import Desired, Recovery
from vmha.policy.members.membership import former_sessions
from vmha.policy.plan import judge_all, plan
from vmha.policy.state import transitions
from vmha.policy.state.snapshot import Moment, Snapshot
from vmha.policy.state.steps import Change, EvictSession, FenceNode, PlacementStep, Step
from vmha.sim.judge.invariants import check_safety
from vmha.sim.judge.of_relations import check_relations
from vmha.store.port import Created, Delete, Modified, Op, Put

NODES = ("n1", "n2", "n3")
VMS = ("a", "b", "c")
STAYS_UP = "n1"
"""It leads whenever another does not; so there is always somebody to plan."""

HEALTHS = [Health(state=state, ready=state is HealthState.HEALTHY) for state in HealthState]
PROBED = (Probe(tcp="guest:1", start_gate=True),)

quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
T = TypeVar("T")


class Life:
    """A cluster that is being lived in: the leader's plans, and everybody else's deeds between them."""

    vms: tuple[str, ...] = VMS

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.book = cluster(*NODES, age_s=self.draw(st.sampled_from([0.0, 3600.0])))
        self.silence: dict[str, float] = {}
        self.serial = 0

    def populate(self) -> None:
        book, draw = self.book, self.draw
        at_shutdown = HostShutdown(
            vms=draw(st.sampled_from(list(AtShutdown))), freeze_for_s=draw(st.sampled_from([0.0, 0.0, 60.0]))
        )
        book.configure(SETTINGS.model_copy(update={"preempt": draw(st.booleans()), "on_host_shutdown": at_shutdown}))
        for node in NODES:
            book.session(node, reads=draw(st.sampled_from([1, 1, 2, 3])))
        for name in ("d1", "d2"):
            members = draw(st.permutations(NODES))[: draw(st.integers(1, 3))]
            flags = {flag: draw(st.booleans()) for flag in ("ordered", "restricted", "nofailback")}
            book.domain(name, *members, **flags)
        together = draw(st.permutations(VMS))[: draw(st.sampled_from([0, 0, 2, 3]))]
        if together:
            recovery = draw(st.sampled_from([Recovery.RESTART, Recovery.RELOCATE]))
            book.service("s", *together, failover_domain=draw(st.sampled_from([None, "d1"])), recovery=recovery)
        self.draw_rules(together)
        for vm in VMS:
            book.vm(
                vm,
                desired=draw(st.sampled_from([Desired.RUNNING, Desired.RUNNING, *Desired])),
                failover_domain=draw(st.sampled_from([None, "d1", "d2"])),
                recovery=draw(st.sampled_from(list(Recovery))),
                max_restarts=draw(st.integers(0, 2)),
                probes=draw(st.sampled_from([(), (), PROBED])),
                autostart=draw(st.booleans()),
                memory_mib=draw(st.sampled_from([1, 1, 9000])),  # of 16384: two of those find no room on one node
                priority=draw(st.sampled_from([100, 100, 200])),
                exclusive=0 if vm in together else draw(st.sampled_from([0, 0, 0, 1, 2])),
                depends_on=self.needs_of(vm),
            )
            if (node := draw(st.sampled_from([None, *NODES]))) is not None:
                book.placed(vm, node).seen(node, vm)

    def draw_rules(self, together: Sequence[str]) -> None:
        book, draw = self.book, self.draw
        for node in NODES:
            if draw(st.booleans()):
                self.label(node)
        apart = draw(st.permutations(VMS))[: draw(st.sampled_from([0, 0, 2, 3]))]
        if apart:
            is_hard = len(set(apart) & set(together)) < 2 and draw(st.booleans())
            book.rule("apart", apart=tuple(apart), hard=is_hard)
        elif draw(st.booleans()):
            book.rule("near", together=("a", "b"))
        if draw(st.integers(0, 2)) == 0:
            book.rule("labels", vms=(draw(st.sampled_from(VMS)),), on={"disk": "ssd"}, hard=draw(st.booleans()))

    def label(self, node: str) -> None:
        view = self.book.snapshot().nodes[NodeName(node)]
        assert view.spec
        spec = view.spec.value.model_copy(update={"labels": {"disk": self.draw(st.sampled_from(["ssd", "hdd"]))}})
        self.book.put(KEYS.node_spec(NodeName(node)), spec)

    def needs_of(self, vm: str) -> tuple[Dependency, ...]:
        """Of vms that come before it by name, so that no circle is drawn."""
        names = [name for name in VMS if name < vm and self.draw(st.integers(0, 3)) == 0]
        delay = st.sampled_from([0.0, 5.0])
        return tuple(
            Dependency(vm=name, mode=self.draw(st.sampled_from(list(Need))), start_delay_s=self.draw(delay))
            for name in names
        )

    # --- the leader

    def counted(self) -> dict[str, Any]:
        """By a leader that has just begun to count for how long vms wait; or what waits has waited for long."""
        return {"silence_s": self.silence, "waits_s": self.draw(st.sampled_from([None, {}]))}

    def moment(self) -> Moment:
        return self.book.moment(**self.counted())

    def plan_and_write_some(self) -> None:
        """Any number of a plan's first steps; then, perhaps, another leader."""
        decided_on = self.book.snapshot()
        made = plan(decided_on, self.moment())
        for waiting in made.waiting:
            assert "contradict" not in waiting.text
        if self.draw(st.booleans()):  # the world moves on between the reading and the writing
            self.draw(st.sampled_from([self.agent_acts, self.node_reboots, self.node_comes_back]))()
        for step in made.steps:
            check_reason(step)
        for step in made.steps[: self.draw(st.integers(0, len(made.steps)))]:
            self.book.apply(step, decided_on)
        if self.draw(st.booleans()):
            self.book.elect(self.draw(st.sampled_from(NODES)))

    # --- an agent, by its transactions: compare its beat and the record it read

    def agent_acts(self) -> None:
        vm = VmName(self.draw(st.sampled_from(self.vms)))
        snapshot = self.book.snapshot()
        view = snapshot.vms.get(vm)
        held = view.placement if view else None
        if held is None or held.value.node is None or held.value.node in self.silence:
            return
        node = held.value.node
        beat = snapshot.nodes[node].beat
        if beat is None:
            return
        new, seen = self._next(held.value, beat.value.session)
        if new is None:
            return
        entry = self._entry(node, "test")
        observation = KEYS.observation(node, vm)
        ops: list[Op] = [Put(KEYS.placement(vm), _encoded(new)), entry]
        ops += [] if seen else [Delete(observation)]
        compares = [Created(KEYS.beat(node), beat.created), Modified(KEYS.placement(vm), held.modified)]
        assert self.book.txn(list(compares), ops)
        if seen:
            since = self.book.clock.wall()
            health = self.draw(st.sampled_from([None, None, *HEALTHS]))
            self.book.seen(node, vm, SeenState.RUNNING, session=beat.value.session, since=since, health=health)

    def _next(self, held: Placement, session: Any) -> tuple[Placement | None, bool]:
        """What the holder writes next, and whether the guest runs here then."""
        wall = self.book.clock.wall()
        mine = held.session == session
        match held.phase:
            case Phase.ASSIGNED:
                return transitions.claim(held, session, wall), True
            case Phase.STOPPING if mine:
                return transitions.release(held, RunEnd.ASKED, "as asked", wall), False
            case Phase.MIGRATING if mine and not held.switched and self.draw(st.booleans()):
                return transitions.switch(held), True
            case Phase.MIGRATING if mine and self.draw(st.booleans()):
                return transitions.hand_over(held, wall), False
            case Phase.MIGRATING if mine:
                return transitions.keep(held, "it failed", wall), True
            case Phase.HELD if mine:
                ended = self.draw(st.sampled_from([RunEnd.CRASHED, RunEnd.GUEST_SHUTDOWN, RunEnd.START_FAILED]))
                failure = Failure(node=held.node or NodeName(""), at=wall, error="broken")
                failed = failure if ended is RunEnd.START_FAILED else None
                return transitions.release(held, ended, "it ended", wall, failure=failed), False
        return None, False

    def _entry(self, node: NodeName, kind: str) -> Put:
        self.serial += 1
        return Put(KEYS.journal(f"agent-{self.serial}"), f'{{"by":"{node}","kind":"{kind}","vm":null}}'.encode())

    # --- everybody else

    def node_falls_silent(self) -> None:
        node = self.draw(st.sampled_from(NODES[1:]))
        self.book.delete(KEYS.session(NodeName(node)))
        self.silence[node] = self.draw(st.sampled_from([SUSPECT_S, LOST_S]))

    def node_comes_back(self) -> None:
        """A new session, or, when it was not evicted, the old one goes on."""
        node = self.draw(st.sampled_from(NODES[1:]))
        self.silence.pop(node, None)
        if self.book.snapshot().nodes[NodeName(node)].beat is None:
            self.serial += 1
            self.book.node(node, session=f"s-{node}-{self.serial}", age_s=-self.book.clock.at)

    def node_reboots(self) -> None:
        """Its next session begins before anybody gave the last one up; what became of its guests is not said yet."""
        node = NodeName(self.draw(st.sampled_from(NODES[1:])))
        self.silence.pop(node, None)
        self.serial += 1
        self.book.delete(KEYS.beat(node))
        self.book.node(node, session=f"s-{node}-{self.serial}")
        for vm in self.vms:
            self.book.delete(KEYS.observation(node, VmName(vm)))

    def node_shuts_down(self) -> None:
        """In good order: it says so, and its session ends once nothing names it."""
        node = NodeName(self.draw(st.sampled_from(NODES[1:])))
        snapshot = self.book.snapshot()
        status = snapshot.nodes[node].current_status
        if status is None or node in self.silence:
            return
        if not status.leaving:
            self.book.put(KEYS.node_status(node), replace(status, leaving=True, eligible=False))
        elif any(vm.placement and vm.placement.value.node == node for vm in snapshot.vms.values()):
            self.book.put(KEYS.node_status(node), replace(status, stops_vms=True))
        else:
            self.book.delete(KEYS.beat(node))
            self.book.delete(KEYS.session(node))

    def node_answers_for_itself(self) -> None:
        """The new session has looked: nothing of the old ones runs."""
        node = NodeName(self.draw(st.sampled_from(NODES[1:])))
        snapshot = self.book.snapshot()
        if snapshot.nodes[node].session_id is not None and node not in self.silence:
            for session in former_sessions(snapshot, node, snapshot.nodes[node].session_id):
                self.book.fenced(session, node, Proof.RELEASED)

    def operator_acts(self) -> None:
        vm, node = self.draw(st.sampled_from(self.vms)), self.draw(st.sampled_from(NODES))
        self.serial += 1
        if vm not in self.book.snapshot().vms or self.book.snapshot().vms[VmName(vm)].spec is None:
            self.book.vm(vm)  # added again
            return
        match self.draw(st.integers(0, 5)):
            case 0:
                verb = self.draw(st.sampled_from([Verb.MIGRATE, Verb.CANCEL, Verb.RELOCATE, Verb.RESTART]))
                self.book.request(verb, name=f"r{self.serial}", vm=vm, node=node)
            case 1:
                self.book.request(Verb.CONFIRM_OFF, name=f"r{self.serial}", node=node)
            case 2:
                name, uuid = f"{vm}.{self.serial}", self.book.spec(vm).uuid
                self.book.put(KEYS.removed(name), RemovedVm(id=name, vm=VmName(vm), uuid=uuid, at=0.0))
                self.book.delete(KEYS.vm_spec(VmName(vm)))
            case 3:
                self.hold(KEYS.freeze(VmName(vm)))
            case 4:
                self.hold(KEYS.pause)
            case _:
                spec = self.book.spec(vm)
                desired = self.draw(st.sampled_from([Desired.RUNNING, Desired.STOPPED, Desired.DISABLED]))
                self.book.put(KEYS.vm_spec(VmName(vm)), spec.model_copy(update={"desired": desired}))

    def hold(self, key: str) -> None:
        """Put down, or lifted."""
        for_s = self.draw(st.sampled_from([None, 0.0, 30.0, 600.0]))
        if for_s is None:
            self.book.delete(key)
        else:
            self.book.put(key, Hold(author="ann", for_s=for_s, mode=self.draw(st.sampled_from(PauseMode))))

    def time_passes(self) -> None:
        self.book.clock.at += self.draw(st.sampled_from([0.5, 10.0, 120.0]))

    def deeds(self) -> list[Callable[[], None]]:
        return [
            self.plan_and_write_some,
            self.plan_and_write_some,
            self.agent_acts,
            self.agent_acts,
            self.node_falls_silent,
            self.node_comes_back,
            self.node_reboots,
            self.node_shuts_down,
            self.node_answers_for_itself,
            self.operator_acts,
            self.time_passes,
        ]

    def step(self) -> None:
        self.draw(st.sampled_from(self.deeds()))()


CHOOSES = (Change.ASSIGN, Change.RECOVER, Change.MIGRATE)
"""Starts a vm, starts it again elsewhere or in place, or moves it."""


def check_reason(step: Step) -> None:
    """Of whatever starts, moves, recovers, ends or fences: the rule, the words, the cause, and the nodes weighed."""
    if isinstance(step, FenceNode | EvictSession):
        assert step.reason.rule, step
        assert step.reason.text, step
        assert step.reason.cause, step
    if not isinstance(step, PlacementStep):
        return
    reason = step.reason
    assert reason.rule, step
    assert reason.text, step
    if step.placement is not None and step.change is not Change.CANCEL:  # what is called off keeps why it was begun
        assert step.placement.reason == reason, step
    if step.change is not Change.NOTE and step.placement is not None:
        assert reason.cause, step
    if step.change in CHOOSES:
        assert step.placement, step
        chosen = step.placement.target if step.change is Change.MIGRATE else step.placement.node
        weighed = {candidate.node: candidate for candidate in reason.candidates}
        assert chosen in weighed, step
        assert not weighed[chosen].refusal, step
        is_named = reason.rule.startswith("operator-asked-to-")  # somebody may have named the node: no other is weighed
        assert is_named or set(NODES) == set(weighed), step
        assert all(one.refusal or one.score > 0 for one in weighed.values()), step


def _encoded(placement: Placement) -> bytes:
    from vmha.model.keys import encode

    return encode(placement)


class Crowded(Life):
    """Nothing ties the vms but that there is little room, and that few start at once (room/for_all.py)."""

    vms = ("a", "b", "c", "d", "e", "f")

    def populate(self) -> None:
        book, draw = self.book, self.draw
        limits = {"starts_per_node": draw(st.sampled_from([1, 2, 16])), "starts": draw(st.integers(0, 2))}
        relief = Rebalance(enabled=draw(st.booleans()), threshold_percent=30, margin_percent=5, hold_s=0.0)
        config = {
            "preempt": draw(st.booleans()),
            "make_room": draw(st.sampled_from([MakeRoom.MOVES, MakeRoom.MOVES, MakeRoom.OFF])),
            "limits": SETTINGS.limits.model_copy(update=limits),
            "rebalance": relief,
        }
        book.configure(SETTINGS.model_copy(update=config))
        book.domain("d1", "n1", "n2", restricted=draw(st.booleans()), ordered=draw(st.booleans()))
        if draw(st.booleans()):
            book.rule("apart", apart=("a", "b"), hard=True)
        for vm in self.vms:
            book.vm(
                vm,
                memory_mib=draw(st.sampled_from([3000, 5000, 8000, 9000, 14000])),  # of 16384
                priority=draw(st.sampled_from([100, 100, 200])),
                failover_domain=draw(st.sampled_from([None, None, "d1"])),
                exclusive=draw(st.sampled_from([0, 0, 0, 1])) if vm == "f" else 0,
            )
            if (node := draw(st.sampled_from([None, None, *NODES]))) is not None:
                book.placed(vm, node).seen(node, vm)

    def operator_acts(self) -> None:
        """A node is drained, or let in again; or as ever."""
        if self.draw(st.booleans()):
            super().operator_acts()
            return
        view = self.book.snapshot().nodes[NodeName(self.draw(st.sampled_from(NODES)))]
        assert view.spec
        spec = view.spec.value
        update = {"maintenance": not spec.maintenance}
        self.book.put(KEYS.node_spec(view.name), spec.model_copy(update=update))


def lived(data: st.DataObject, steps: int) -> Life:
    life = data.draw(st.sampled_from([Life, Life, Crowded]))(data)
    life.populate()
    for _ in range(steps):
        life.step()
    return life


@given(data=st.data())
@settings(quick, max_examples=120)
def test_any_prefix_of_any_plan_keeps_the_laws_whoever_leads_next(data: st.DataObject) -> None:
    life = lived(data, 14)
    assert check_safety([], life.book.record) == []
    assert check_relations(life.book.record) == []


@given(data=st.data())
@settings(quick, max_examples=80)
def test_plans_come_to_an_end(data: st.DataObject) -> None:
    """Once everything a plan asks for is written, and then what that leads to, nothing new is proposed."""
    life = lived(data, 8)
    life.book.lead(rounds=7, **life.counted())


@given(data=st.data())
@settings(quick, max_examples=80)
def test_every_step_of_a_plan_can_be_written_in_its_order(data: st.DataObject) -> None:
    """No two steps of one plan want the same record, so none loses to another."""
    life = lived(data, 8)
    decided_on = life.book.snapshot()
    made = plan(decided_on, life.moment())
    assert life.book.carry_out(made, decided_on) == len(made.steps)


@given(data=st.data())
@settings(quick, max_examples=80)
def test_plan_does_not_depend_on_the_order_of_what_is_read(data: st.DataObject) -> None:
    life = lived(data, 8)
    snapshot, moment = life.book.snapshot(), life.moment()
    assert plan(_shuffled(snapshot, data), moment) == plan(snapshot, moment)


@given(data=st.data())
@settings(quick, max_examples=150)
def test_plan_with_nothing_to_do_stands_until_the_time_it_names(data: st.DataObject) -> None:
    """For so long a leader plans nothing anew, while the nodes that are well go on beating and nothing else changes."""
    life = lived(data, 8)
    snapshot, moment = life.book.snapshot(), life.moment()
    made = plan(snapshot, moment)
    if not made.steps:
        until_s = min(LONGEST_WAIT_S, LONGEST_WAIT_S if made.wake_in_s is None else made.wake_in_s)
        later = _later(moment, until_s * data.draw(st.sampled_from([0.1, 0.5, 0.9, 0.999])))
        if judge_all(snapshot, later) == judge_all(snapshot, moment):
            assert plan(snapshot, later).steps == ()


def _later(moment: Moment, passed_s: float) -> Moment:
    """The same, so much later: who is silent goes on being it."""

    def grown(counted: Mapping[T, float]) -> dict[T, float]:
        return {what: for_s + passed_s for what, for_s in counted.items()}

    return replace(
        moment,
        now=moment.now + passed_s,
        wall=moment.wall + passed_s,
        silence_s={node: for_s + passed_s for node, for_s in moment.silence_s.items() if for_s > 0},
        unsettled_s=moment.unsettled_s + passed_s,
        unclaimed_s=grown(moment.unclaimed_s),
        known_s=grown(moment.known_s),
        waits_s=None if moment.waits_s is None else grown(moment.waits_s),
    )


def _shuffled(snapshot: Snapshot, data: st.DataObject) -> Snapshot:
    changed: dict[str, Any] = {}
    for field in fields(snapshot):
        value = getattr(snapshot, field.name)
        if isinstance(value, Mapping):
            changed[field.name] = dict(data.draw(st.permutations(list(value.items()))))
    vms = {name: replace(vm, seen=_reversed(vm.seen)) for name, vm in changed["vms"].items()}
    return replace(snapshot, **{**changed, "vms": vms})


def _reversed(mapping: Mapping[Any, T]) -> dict[Any, T]:
    return dict(reversed(list(mapping.items())))


def test_book_refuses_what_the_store_would_refuse() -> None:
    """The test's own store is worth nothing if it lets everything through."""
    book = Book().configure()
    assert not book.txn([Created(KEYS.leader, book.snapshot().revision)], [])
    assert book.txn([Modified(KEYS.leader, type(book.snapshot().revision)(0))], [])
