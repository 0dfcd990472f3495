"""A less important vm gives way for want of room, only if the cluster says so, and no more of them than it takes."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.clusters import SETTINGS, Book, cluster
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, RunEnd
from vmha.model.relations import Dependency, Need
from vmha.model.settings import ClusterConfig
from vmha.policy.deciding.preempt import fewest
from vmha.policy.plan import plan
from vmha.policy.state import transitions
from vmha.policy.state.reservation import Room, Size
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.state.steps import Change, PlacementStep
from vmha.policy.telling.forecast import foresee

PREEMPT = SETTINGS.model_copy(update={"preempt": True})


def crowded(*nodes: str, config: ClusterConfig = PREEMPT) -> Book:
    """Nodes of 1000 MiB; web (600, priority 100) runs on n1."""
    book = cluster(*nodes, memory_mib=1000).configure(config)
    return book.running("web", "n1", memory_mib=600)


def changes(book: Book) -> dict[str, Change]:
    return {step.vm: step.change for step in book.plan().steps if isinstance(step, PlacementStep)}


def end(book: Book, vm: str) -> None:
    """Its holder has stopped it."""
    held = book.claim(vm)
    assert held.phase is Phase.STOPPING
    assert held.node
    book.delete(f"/vmha/t/nodes/{held.node}/vms/{vm}")
    book.put_placement(transitions.release(held, RunEnd.ASKED, "as asked", book.clock.wall()))


def test_by_default_the_more_important_vm_waits() -> None:
    assert not ClusterConfig().preempt
    book = crowded("n1", config=SETTINGS).vm("db", memory_mib=700, priority=200)
    assert changes(book) == {"db": Change.NOTE}


def test_a_less_important_vm_is_stopped_and_waits_with_the_reason_and_comes_back_when_there_is_room() -> None:
    book = crowded("n1").vm("db", memory_mib=700, priority=200)
    assert changes(book) == {"db": Change.NOTE, "web": Change.STOP}
    book.lead(rounds=3)
    assert "db is more important (priority 200 against 100)" in book.claim("web").reason.text
    end(book, "web")
    book.lead(rounds=3)
    assert (book.claim("db").phase, book.claim("db").node) == (Phase.ASSIGNED, "n1")
    assert book.claim("web").reason.text.startswith("it gave way to db; no node can take it: n1 has 300 MiB free")
    book.node("n2", memory_mib=1000)
    book.lead(rounds=3)
    assert (book.claim("web").phase, book.claim("web").node) == (Phase.ASSIGNED, "n2")


def test_what_can_migrate_is_not_stopped() -> None:
    book = crowded("n1", "n2").running("app", "n2", memory_mib=400).domain("one", "n1", restricted=True)
    book.vm("db", memory_mib=700, priority=200, failover_domain="one")
    assert changes(book) == {"db": Change.NOTE, "web": Change.MIGRATE}


@pytest.mark.parametrize(
    ("field", "value"),
    [("priority", 100), ("priority", 50), ("memory_mib", 1001), ("exclusive", 1)],
)
def test_nobody_gives_way_where_it_is_not_due_or_of_no_use(field: str, value: int) -> None:
    book = crowded("n1").vm("db", **{"memory_mib": 700, "priority": 200, field: value})
    assert "web" not in changes(book)


def test_nobody_gives_way_for_one_that_only_waits_its_turn() -> None:
    limits = SETTINGS.limits.model_copy(update={"starts_per_node": 1})
    book = crowded("n1", config=PREEMPT.model_copy(update={"limits": limits}))
    book.vm("new", memory_mib=100, priority=300).vm("db", memory_mib=200, priority=200)
    assert changes(book) == {"new": Change.ASSIGN, "db": Change.NOTE}


def test_one_that_others_need_and_one_that_is_frozen_stay() -> None:
    book = crowded("n1").vm("needs", memory_mib=50, depends_on=(Dependency(vm="web"),))
    book.vm("db", memory_mib=700, priority=200)
    assert "web" not in {name for name, change in changes(book).items() if change is Change.STOP}
    frozen = crowded("n1").vm("db", memory_mib=700, priority=200).freeze("web")
    assert Change.STOP not in changes(frozen).values()


def test_nobody_is_stopped_in_vain_beside_one_that_others_come_after() -> None:
    """That one is decided about first, and never heard that it is to give way: the other was down for nothing."""
    book = cluster("n1", memory_mib=1000).configure(PREEMPT)
    book.running("own", "n1", memory_mib=300, priority=200)
    book.running("log", "n1", memory_mib=300).running("web", "n1", memory_mib=400)
    book.vm("app", memory_mib=500, depends_on=(Dependency(vm="log", mode=Need.SOFT),))
    book.vm("db", memory_mib=700, priority=200)
    book.lead()
    assert book.claim("web").phase is Phase.HELD
    assert book.claim("db").phase is Phase.STOPPED


def test_nobody_more_gives_way_while_one_is_being_stopped() -> None:
    book = crowded("n1", "n2").running("app", "n2", memory_mib=600)
    book.vm("db", memory_mib=700, priority=200)
    book.lead(rounds=3)
    assert [book.claim(name).phase for name in ("app", "web")].count(Phase.STOPPING) == 1
    assert Change.STOP not in changes(book).values()


def test_nobody_less_important_is_given_the_room_that_is_waited_for() -> None:
    book = crowded("n1").vm("db", memory_mib=900, priority=200).vm("new", memory_mib=300)
    assert changes(book) == {"db": Change.NOTE, "new": Change.NOTE, "web": Change.STOP}
    book.lead(rounds=3)
    assert changes(book) == {}  # the same while web is being stopped
    small = crowded("n1").vm("db", memory_mib=500, priority=200).vm("new", memory_mib=300)
    assert changes(small)["new"] is Change.ASSIGN


def test_two_that_find_no_room_share_what_becomes_free() -> None:
    book = crowded("n1").vm("db", memory_mib=500, priority=200).vm("mail", memory_mib=450, priority=200)
    book.running("log", "n1", memory_mib=350, priority=150)
    found = changes(book)
    assert found == {"db": Change.NOTE, "mail": Change.NOTE, "web": Change.STOP, "log": Change.STOP}


def test_the_lowest_goes_first_and_no_more_than_it_takes() -> None:
    may = [(priority, -size, VmName(f"v{priority}"), Size(size)) for priority, size in ((1, 100), (2, 100), (3, 500))]
    full = Room(1000)

    def named(need: int) -> list[str] | None:
        found = fewest(Size(need), full, Size(1000), may)
        return None if found is None else [one[2] for one in found]

    assert named(100) == ["v1"]
    assert named(200) == ["v1", "v2"]
    assert named(500) == ["v3"]
    assert named(600) == ["v2", "v3"] or named(600) == ["v1", "v3"]
    assert named(800) is None


sizes = st.builds(Size, st.integers(1, 9), st.integers(0, 3))


@given(need=sizes, taken=st.lists(sizes, max_size=6), room=st.builds(Room, st.integers(1, 20), st.sampled_from([0, 6])))
@settings(deadline=None, max_examples=200)
def test_without_any_one_of_those_that_give_way_it_would_not_fit(need: Size, taken: list[Size], room: Room) -> None:
    total = sum(taken, Size(0))
    may = sorted((at % 3, -size.memory_mib, VmName(f"v{at}"), size) for at, size in enumerate(taken))
    given_ = fewest(need, room, total, may)
    if given_ is None:
        assert room.refusal(need, Size(0)) or room.refusal(need, Size(0, 0))
        return
    left = sum((one[3] for one in may if one not in given_), Size(0))
    assert not room.refusal(need, left)
    assert all(room.refusal(need, left + one[3]) for one in given_)


# --- of any cluster

quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def drawn(data: st.DataObject) -> Book:
    draw = data.draw
    nodes = ("n1", "n2", "n3")[: draw(st.integers(1, 3))]
    book = cluster(*nodes, memory_mib=draw(st.sampled_from([600, 1000]))).configure(PREEMPT)
    book.domain("d", *draw(st.permutations(nodes))[:2], ordered=draw(st.booleans()), restricted=draw(st.booleans()))
    vms = [f"v{number}" for number in range(draw(st.integers(1, 7)))]
    for vm in vms:
        book.vm(
            vm,
            memory_mib=draw(st.sampled_from([100, 250, 400, 550])),
            priority=draw(st.sampled_from([100, 200, 300])),
            failover_domain=draw(st.sampled_from([None, None, "d"])),
        )
        if (node := draw(st.sampled_from([None, *nodes]))) is not None:
            book.placed(vm, node).seen(node, vm)
    if draw(st.booleans()) and len(vms) > 1:
        book.rule("apart", apart=tuple(vms[:2]), hard=True)
    return book


def importance(snapshot: Snapshot, name: str) -> int:
    spec = snapshot.vms[VmName(name)].spec
    assert spec
    return spec.value.priority


@given(data=st.data())
@settings(quick, max_examples=60)
def test_it_never_goes_to_and_fro_and_only_for_somebody_more_important(data: st.DataObject) -> None:
    book = drawn(data)
    snapshot, moment = book.snapshot(), book.moment()
    found = foresee(snapshot, moment)
    assert found.ends
    assert plan(found.then, moment).steps == ()
    for move in found.moves:
        if move.reason.rule == "gives-way-to-a-more-important-vm":
            rival = move.reason.cause.removeprefix("room-for-")
            assert importance(snapshot, rival) > importance(snapshot, move.vm)
    given_way = [move.vm for move in found.moves if move.reason.rule == "gives-way-to-a-more-important-vm"]
    assert len(given_way) <= len(snapshot.vms) * 3


@given(data=st.data())
@settings(quick, max_examples=40)
def test_the_more_important_ones_run_wherever_the_less_important_alone_were_in_their_way(data: st.DataObject) -> None:
    """In the end nobody waits who would have room on a node without its less important vms."""
    book = drawn(data)
    found = foresee(book.snapshot(), book.moment())
    ruled = {VmName(name) for rule in found.then.rules.values() for name in rule.names}
    for waiting in found.down:
        vm = found.then.vms[waiting.vm]
        assert vm.spec
        if waiting.vm in ruled or vm.spec.value.failover_domain:
            continue
        for node in found.then.nodes:
            kept = [
                other.spec.value.memory_mib
                for other in found.then.vms.values()
                if other.spec
                and other.placement
                and other.placement.value.node == node
                and other.spec.value.priority >= vm.spec.value.priority
            ]
            status = found.then.nodes[NodeName(node)].current_status
            assert status
            assert sum(kept) + vm.spec.value.memory_mib > status.memory_mib


def test_one_whose_node_did_not_claim_it_may_have_others_stopped_as_well() -> None:
    book = crowded("n1").vm("db", memory_mib=700, priority=200)
    book.placed("db", "n1", phase=Phase.ASSIGNED)
    made = book.plan(unclaimed_s={VmName("db"): 1e6})
    assert "web" not in {
        step.vm for step in made.steps if isinstance(step, PlacementStep)
    }  # n1 alone, and that is not it
    book.node("n2", memory_mib=1000).running("app", "n2", memory_mib=600)
    book.placed("db", "n1", phase=Phase.ASSIGNED)
    made = book.plan(unclaimed_s={VmName("db"): 1e6})
    assert ("app", Change.STOP) in {(step.vm, step.change) for step in made.steps if isinstance(step, PlacementStep)}
