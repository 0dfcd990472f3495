"""What is foreseen is what the leader's plans come to."""

import pytest

from tests.support.clusters import Book, cluster
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, RunEnd
from vmha.model.vm import Desired
from vmha.policy.state.steps import Change
from vmha.policy.state.supposing import NodeDrained, NodeLost, NodeUndrained, Supposition, VmWanted, suppose
from vmha.policy.telling.forecast import Forecast, Move, foresee, losses

N1, N2, N3 = NodeName("n1"), NodeName("n2"), NodeName("n3")
WEB, DB = VmName("web"), VmName("db")


def foreseen(book: Book, *supposed: Supposition) -> Forecast:
    snapshot = book.snapshot()
    for what in supposed:
        snapshot = suppose(snapshot, what)
    return foresee(snapshot, book.moment())


def ways(found: Forecast) -> list[tuple[str, str, str | None, str | None]]:
    return [(move.vm, move.change.value, move.source, move.target) for move in found.moves]


def test_in_a_cluster_at_rest_nothing_would_happen() -> None:
    book = cluster("n1", "n2").running("web", "n1")
    assert (foreseen(book).moves, foreseen(book).down, foreseen(book).ends) == ((), (), True)


def test_vms_of_a_lost_node_would_be_recovered_elsewhere() -> None:
    found = foreseen(cluster("n1", "n2").running("web", "n1").running("db", "n2"), NodeLost(node=N1))
    assert ways(found) == [("web", "recover", "n1", "n2")]
    assert "n1 is fenced" in found.moves[0].reason.text


def test_a_drained_node_would_send_its_vms_away_live_and_an_undrained_one_have_them_back() -> None:
    book = cluster("n1", "n2").domain("pref", "n1", "n2", ordered=True).running("web", "n1", failover_domain="pref")
    (move,) = foreseen(book, NodeDrained(node=N1)).moves
    assert move == Move(vm=WEB, change=Change.MIGRATE, source=N1, target=N2, reason=move.reason, is_live=True)
    away = cluster("n1", "n2").domain("pref", "n1", "n2", ordered=True).node("n1", spec={"maintenance": True})
    away.running("web", "n2", failover_domain="pref")
    assert foreseen(away).moves == ()
    assert ways(foreseen(away, NodeUndrained(node=N1))) == [("web", "migrate", "n2", "n1")]


def test_what_would_not_fit_is_down_with_what_each_node_says() -> None:
    book = cluster("n1", "n2", memory_mib=1000)
    book.running("web", "n1", memory_mib=600).running("db", "n2", memory_mib=600)
    found = foreseen(book, NodeLost(node=N1))
    assert found.moves == ()
    (web,) = found.down
    assert web.vm == WEB
    assert "n2 has 400 MiB free of 1000, the vm needs 600" in web.text


def test_losses_tell_for_each_node_what_would_not_come_back() -> None:
    book = cluster("n1", "n2", "n3", memory_mib=1000)
    book.running("web", "n1", memory_mib=900).running("db", "n2", memory_mib=150)
    found = losses(book.snapshot(), book.moment())
    assert {node: [one.vm for one in forecast.down] for node, forecast in found.items()} == {N1: [], N2: [], N3: []}
    book.running("web", "n1", memory_mib=900, priority=50)  # nobody is moved for a less important one
    book.running("app", "n3", memory_mib=200)
    found = losses(book.snapshot(), book.moment())
    assert {node: [one.vm for one in forecast.down] for node, forecast in found.items()} == {N1: [WEB], N2: [], N3: []}


@pytest.mark.parametrize(
    ("desired", "way"),
    [
        (Desired.STOPPED, [("web", "stop", "n1", None)]),
        (Desired.RUNNING, []),
        (Desired.DISABLED, [("web", "stop", "n1", None)]),
    ],
)
def test_a_vm_that_is_wanted_otherwise(desired: Desired, way: list[tuple[str, str, str | None, str | None]]) -> None:
    book = cluster("n1", "n2").running("web", "n1")
    assert ways(foreseen(book, VmWanted(vm=WEB, desired=desired))) == way


def test_limits_of_starts_only_take_longer() -> None:
    book = cluster("n1", "n2")
    for number in range(30):
        book.vm(f"vm{number:02d}").ended(f"vm{number:02d}", "n1", RunEnd.ASKED)
    found = foreseen(book)
    assert len(found.moves) == 30
    assert {move.target for move in found.moves} == {N1, N2}


def test_a_vm_that_rests_after_endings_would_be_started_when_it_has_rested() -> None:
    book = cluster("n1", "n2").vm("web")
    wall = book.clock.wall()
    book.ended("web", "n1", RunEnd.CRASHED, endings=(wall - 3, wall - 2, wall - 1))
    assert ways(foreseen(book)) == [("web", "assign", None, "n1")]


def test_nothing_is_foreseen_on_what_was_foreseen() -> None:
    book = cluster("n1", "n2", "n3").domain("pref", "n1", "n2", ordered=True)
    book.running("web", "n1", failover_domain="pref").running("db", "n3").vm("app").vm("off", desired=Desired.AS_FOUND)
    book.placed("moving", "n2", phase=Phase.MIGRATING, target=N3).vm("moving")
    for supposed in ([], [NodeLost(node=N1)], [NodeDrained(node=N2)], [NodeLost(node=N1), NodeDrained(node=N3)]):
        found = foreseen(book, *supposed)
        assert found.ends
        assert foresee(found.then, book.moment()).moves == ()


def test_a_vm_that_is_being_migrated_is_not_down_unless_its_source_is_lost_for_good() -> None:
    book = cluster("n1", "n2").placed("web", "n1", phase=Phase.MIGRATING, target=N2).vm("web")
    assert foreseen(book).down == ()
    assert foreseen(book, NodeLost(node=N2)).down == ()
    assert ways(foreseen(book, NodeLost(node=N1))) == [("web", "recover", "n1", "n2")]
    assert [one.vm for one in foreseen(book, NodeLost(node=N1), NodeLost(node=N2)).down] == ["web"]
