"""A plan that skips who is at rest, or goes on from the last plan, decides what a plan that looks at all does."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clusters import KEYS, cluster
from tests.unit.policy.test_plan_properties import NODES, VMS, Life, quick
from vmha.model.ids import LeaseId, NodeName, Revision, VmName
from vmha.model.records import RemovedVm, Verb
from vmha.model.settings import Limits
from vmha.model.vm import Desired
from vmha.policy.asked.requests import open_requests
from vmha.policy.at_rest import who_is_due
from vmha.policy.deciding.decision import NOTHING
from vmha.policy.deciding.drain import away_from
from vmha.policy.placing import placement
from vmha.policy.placing.placement import survey
from vmha.policy.plan import decide, judge_all, plan
from vmha.policy.planner import Planner
from vmha.policy.state.assemble import Assembler
from vmha.policy.state.census import nobody_rests, take
from vmha.policy.state.snapshot import Moment, Snapshot
from vmha.policy.state.steps import Change, PlacementStep, Plan


class Followed(Life):
    """A life that a planner follows from its beginning, by a reading that shares what has not changed.

    Beside the others of such a life there are plain vms, which rest; and nodes are drained, and their vms called back.
    """

    vms = (*VMS, "x", "y", "z")

    def __init__(self, data: st.DataObject) -> None:
        super().__init__(data)
        self.planner = Planner()
        self.assembler = Assembler(KEYS)
        self.read: dict[str, Any] = {}

    def populate(self) -> None:
        super().populate()
        for vm in self.vms[len(VMS) :]:
            self.book.running(
                vm,
                self.draw(st.sampled_from(NODES)),
                memory_mib=self.draw(st.sampled_from([1, 3000, 9000])),
                priority=self.draw(st.sampled_from([50, 100])),
                failover_domain=self.draw(st.sampled_from([None, None, "d1", "d2"])),
            )

    def deeds(self) -> list[Callable[[], None]]:
        more = (self.node_is_drained, self.node_is_undrained, self.node_shuts_down, self.vm_is_removed)
        return [*super().deeds(), *more]

    def node_is_drained(self) -> None:
        self._maintain(self.draw(st.sampled_from(NODES)), maintenance=True)

    def node_is_undrained(self) -> None:
        """And, perhaps, what has left it is called back, as ``vmha node undrain --return`` asks for it."""
        node = self.draw(st.sampled_from(NODES))
        self._maintain(node, maintenance=False)
        if self.draw(st.booleans()):
            for vm in away_from(NodeName(node), self.book.snapshot()):
                self.serial += 1
                self.book.request(Verb.MIGRATE, name=f"r{self.serial}", vm=vm, node=node)

    def _maintain(self, node: str, *, maintenance: bool) -> None:
        view = self.book.snapshot().nodes[NodeName(node)]
        assert view.spec
        self.book.put(KEYS.node_spec(view.name), view.spec.value.model_copy(update={"maintenance": maintenance}))

    def node_shuts_down(self) -> None:
        """Its host does, or has thought better of it; its vms have time to leave, or no more."""
        status = self.book.snapshot().nodes[NodeName(self.draw(st.sampled_from(NODES)))].current_status
        if status is not None:
            leaving, stops = self.draw(st.sampled_from([(False, False), (True, False), (True, True)]))
            self.book.put(KEYS.node_status(status.node), replace(status, leaving=leaving, stops_vms=stops))

    def vm_is_removed(self) -> None:
        vm = VmName(self.draw(st.sampled_from(self.vms)))
        self.serial += 1
        if (view := self.book.snapshot().vms.get(vm)) is not None and view.spec is not None:
            removed = RemovedVm(id=f"{vm}.{self.serial}", vm=vm, uuid=view.spec.value.uuid, at=0.0)
            self.book.put(KEYS.removed(removed.id), removed)
            self.book.delete(KEYS.vm_spec(vm))

    def reading(self) -> Snapshot:
        """As a leader's mirror has it: made of the last one by what was written since."""
        entries = dict(self.book._entries)
        for key in self.read.keys() - entries.keys():
            self.assembler.delete(key)
        for key, entry in entries.items():
            if self.read.get(key) != entry:
                created, modified = Revision(entry.created), Revision(entry.modified)
                self.assembler.put(key, entry.value, created=created, modified=modified, lease=LeaseId(0))
        self.read = entries
        return self.assembler.snapshot(Revision(self.book.revision))

    def step(self) -> None:
        super().step()
        if self.draw(st.booleans()):
            self.judge()

    def judge(self) -> None:
        snapshot, moment = self.reading(), self.book.moment(silence_s=self.silence)
        assert snapshot == self.book.snapshot()
        whole = plan(snapshot, moment, census=nobody_rests(snapshot.vms))
        assert self.planner.plan(snapshot, moment) == whole
        assert plan(snapshot, moment) == whole
        assert self.planner.census(snapshot.vms) == take(snapshot.vms)
        self.judge_rests(snapshot, moment)

    def judge_rests(self, snapshot: Snapshot, moment: Moment) -> None:
        """Nothing at all is decided about one at rest, whoever is asked."""
        verdicts = judge_all(snapshot, moment)
        ground = survey(snapshot, verdicts, moment.wall)
        by_vm, _ = open_requests(ground)
        due = who_is_due(take(snapshot.vms), ground, by_vm)
        for vm in snapshot.vms.values():
            if vm.name not in due:
                assert decide(vm, by_vm.get(vm.name), ground, moment) == NOTHING


@given(data=st.data())
@settings(quick, max_examples=60)
def test_who_goes_on_from_the_last_plan_decides_what_a_whole_plan_does(data: st.DataObject) -> None:
    life = Followed(data)
    life.populate()
    for _ in range(12):
        life.step()


@given(data=st.data())
@settings(quick, max_examples=60)
def test_nodes_that_were_not_looked_at_would_not_have_been_chosen(data: st.DataObject) -> None:
    names = [f"n{number:02d}" for number in range(40)]
    book = cluster(*names, memory_mib=4096)
    limits = Limits(starts_per_node=data.draw(st.integers(1, 3)), migrations_per_node=data.draw(st.integers(1, 3)))
    preempt = data.draw(st.booleans())
    book.configure(book.snapshot().config.model_copy(update={"limits": limits, "preempt": preempt}))
    book.domain("d", *data.draw(st.permutations(names))[:3], ordered=True, restricted=data.draw(st.booleans()))
    for number in range(data.draw(st.integers(0, 60))):
        book.running(f"old{number:02d}", data.draw(st.sampled_from(names[:30])), memory_mib=1024)
    for number in range(data.draw(st.integers(1, 6))):
        domain = data.draw(st.sampled_from([None, "d"]))
        memory_mib, priority = data.draw(st.sampled_from([(1024, 100), (3072, 200)]))
        book.vm(f"new{number}", failover_domain=domain, memory_mib=memory_mib, priority=priority)
    for name in data.draw(st.permutations(names))[: data.draw(st.integers(0, 3))]:
        book.node(name, memory_mib=4096, spec={"maintenance": True})
    snapshot, moment = book.snapshot(), book.moment()
    made = plan(snapshot, moment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "LOOKED_AT_ALL", len(names))
        whole = plan(snapshot, moment)
    assert _where_to(made) == _where_to(whole)


def _where_to(made: Plan) -> list[tuple[VmName, Change, NodeName | None, NodeName | None]]:
    """Whom it places, and where; why is told by fewer nodes where fewer were looked at."""
    return [
        (step.vm, step.change, step.placement.node, step.placement.target)
        for step in made.steps
        if isinstance(step, PlacementStep) and step.placement
    ]


def test_vm_that_runs_well_is_at_rest_and_one_that_is_touched_is_not() -> None:
    book = cluster("n1", "n2").running("calm", "n1").running("held", "n2").vm("off", desired=Desired.STOPPED)
    assert not take(book.snapshot().vms).astir
    book.freeze("held").vm("off", desired=Desired.RUNNING)
    assert set(take(book.snapshot().vms).astir) == {"held", "off"}


def test_census_of_the_next_reading_shares_what_has_not_changed() -> None:
    book = cluster("n1", "n2").running("a", "n1").running("b", "n2")
    before = take(book.snapshot().vms)
    frozen = book.freeze("a").snapshot().vms[VmName("a")]
    after = before.after({**before.vms, VmName("a"): frozen})
    assert set(after.astir) == {"a"}
    ((place, crowd),) = after.crowds.items()
    assert crowd is before.crowds[place]
    assert before.after(before.vms) is before
