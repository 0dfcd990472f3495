"""A plan that skips who is at rest, or goes on from the last plan, decides what a plan that looks at all does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clusters import cluster
from tests.unit.policy.test_plan_properties import Life, quick
from vmha.model.ids import VmName
from vmha.model.settings import Limits
from vmha.model.vm import Desired
from vmha.policy import placement
from vmha.policy.census import nobody_rests, take
from vmha.policy.plan import plan
from vmha.policy.planner import Planner


class Followed(Life):
    """A life that a planner follows from its beginning, and judges at some of its moments."""

    def __init__(self, data: st.DataObject) -> None:
        super().__init__(data)
        self.planner = Planner()

    def step(self) -> None:
        super().step()
        if not self.draw(st.booleans()):
            return
        snapshot, moment = self.book.snapshot(), self.book.moment(silence_s=self.silence)
        whole = plan(snapshot, moment, census=nobody_rests(snapshot.vms))
        assert self.planner.plan(snapshot, moment) == whole
        assert plan(snapshot, moment) == whole
        assert self.planner.census(snapshot.vms) == take(snapshot.vms)


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
    limits = Limits(starts_per_node=data.draw(st.integers(1, 3)))
    book.configure(book.snapshot().config.model_copy(update={"limits": limits}))
    book.domain("d", *data.draw(st.permutations(names))[:3], ordered=True, restricted=data.draw(st.booleans()))
    for number in range(data.draw(st.integers(0, 60))):
        book.running(f"old{number:02d}", data.draw(st.sampled_from(names[:30])), memory_mib=1024)
    for number in range(data.draw(st.integers(1, 6))):
        domain = data.draw(st.sampled_from([None, "d"]))
        book.vm(f"new{number}", desired=Desired.RUNNING, failover_domain=domain, memory_mib=1024)
    snapshot, moment = book.snapshot(), book.moment()
    made = plan(snapshot, moment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "LOOKED_AT_ALL", len(names))
        whole = plan(snapshot, moment)
    assert [(step.vm, step.placement.node) for step in made.steps] == [  # type: ignore[union-attr]
        (step.vm, step.placement.node)  # type: ignore[union-attr]
        for step in whole.steps
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
