"""What many vms or nodes have in common is asked once, and the answer is what each of them would have been given."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.clusters import Book, cluster
from tests.unit.policy.test_plan_properties import quick
from vmha.model.ids import NodeName
from vmha.model.settings import Limits
from vmha.model.vm import VmSpec
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import choose, survey, take
from vmha.policy.plan import judge_all
from vmha.policy.room.for_all import without_limits
from vmha.policy.state.snapshot import Moment, Snapshot

NODES = [f"n{number:02d}" for number in range(40)]


def survey_of(snapshot: Snapshot, moment: Moment) -> Field:
    return survey(snapshot, judge_all(snapshot, moment), moment.wall)


def filled(data: st.DataObject) -> Book:
    """Nodes that carry more or less, some of them full, drained, or kept by a vm for itself; vms that are to start."""
    names = NODES[: data.draw(st.sampled_from([3, 12, 40]))]
    book = cluster(*names, memory_mib=4096, vcpus=4)
    limits = Limits(starts_per_node=data.draw(st.integers(1, 3)))
    book.configure(book.snapshot().config.model_copy(update={"limits": limits}))
    book.domain("d", *data.draw(st.permutations(names))[:3], ordered=True, restricted=data.draw(st.booleans()))
    for number in range(data.draw(st.integers(0, 40))):
        alone = data.draw(st.sampled_from([0, 0, 0, 1]))
        book.running(f"old{number:02d}", data.draw(st.sampled_from(names)), memory_mib=1024, exclusive=alone)
    for number in range(data.draw(st.integers(2, 8))):
        domain, memory_mib = data.draw(st.sampled_from([None, "d"])), data.draw(st.sampled_from([1024, 3072]))
        book.vm(f"new{number}", failover_domain=domain, memory_mib=memory_mib)
    for name in data.draw(st.permutations(names))[: data.draw(st.integers(0, 2))]:
        book.node(name, memory_mib=4096, vcpus=4, spec={"maintenance": True})
    return book


def to_start(snapshot: Snapshot) -> list[VmSpec]:
    return [vm.spec.value for name, vm in sorted(snapshot.vms.items()) if name.startswith("new") and vm.spec]


@given(data=st.data())
@quick
def test_vms_that_nothing_tells_apart_are_given_the_answer_that_each_would_be_given_alone(data: st.DataObject) -> None:
    book = filled(data)
    snapshot, moment = book.snapshot(), book.moment()
    together = survey_of(snapshot, moment)
    together.answers = {}
    placed: list[tuple[NodeName, VmSpec]] = []
    for spec in to_start(snapshot):
        alone = survey_of(snapshot, moment)
        for node, other in placed:
            take(node, other, alone, starting=True)
        choice = choose(spec, together)
        assert choice == choose(spec, alone)
        if choice.node is not None and data.draw(st.booleans()):
            take(choice.node, spec, together, starting=True)
            placed.append((choice.node, spec))


@given(data=st.data())
@quick
def test_nodes_that_are_asked_in_a_row_say_what_the_closer_look_at_each_finds(data: st.DataObject) -> None:
    book, moving = filled(data), data.draw(st.booleans())
    in_a_row = survey_of(book.snapshot(), book.moment())
    book.rule(
        "of-nobody", apart=("ghost", "spectre"), hard=True
    )  # where there are rules, every node is looked at closely
    closely = survey_of(book.snapshot(), book.moment())
    for spec in to_start(book.snapshot()):
        choice = choose(spec, in_a_row, moving=moving)
        assert choice == choose(spec, closely, moving=moving)
        if choice.node is not None:
            for ground in (in_a_row, closely):
                take(choice.node, spec, ground, starting=not moving)
                ground.loads[choice.node].migrating += moving


def test_copy_of_the_nodes_sees_what_the_original_has_been_given_since() -> None:
    book = cluster("n1", memory_mib=4096).vm("a", memory_mib=3072).vm("b", memory_mib=3072)
    ground = survey_of(book.snapshot(), book.moment())
    ground.answers = {}
    free = without_limits(ground)
    assert choose(book.spec("b"), free).node == "n1"
    take(NodeName("n1"), book.spec("a"), ground, starting=True)
    assert choose(book.spec("b"), free).node is None
