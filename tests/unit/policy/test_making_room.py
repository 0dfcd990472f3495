"""Vms that run are moved, live and as few as can be, for one that should run and fits nowhere; by every rule."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.clusters import SETTINGS, Book, cluster
from tests.support.room import lead_step_by_step, let_it_arrive, moves, settle
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Failure, Phase, RunEnd
from vmha.model.relations import Dependency
from vmha.model.settings import ClusterConfig, MakeRoom
from vmha.operator.why import why
from vmha.policy.placing.room_asked import RULE, WAITS
from vmha.policy.plan import judge_all
from vmha.policy.state import transitions
from vmha.policy.state.steps import Change, PlacementStep
from vmha.policy.state.supposing import NodeLost, suppose
from vmha.policy.telling.explain import VmState, summarize
from vmha.policy.telling.forecast import foresee

ON_N2 = {"memory_mib": 900, "failover_domain": "one"}
"""It may be nowhere else."""


def settings(**update: Any) -> ClusterConfig:
    return SETTINGS.model_copy(update=update)


def full(*nodes: str, config: ClusterConfig = SETTINGS) -> Book:
    """Nodes of 1000 MiB; ``a`` takes 600 of n1 and ``b`` 300 of n2."""
    book = cluster(*(nodes or ("n1", "n2")), memory_mib=1000).configure(config).domain("one", "n2", restricted=True)
    return book.running("a", "n1", memory_mib=600).running("b", "n2", memory_mib=300)


def test_one_that_runs_is_moved_for_one_that_fits_nowhere_and_both_say_so() -> None:
    book = full().vm("db", memory_mib=900)
    book.lead()
    assert (book.claim("b").phase, book.claim("b").target) == (Phase.MIGRATING, "n1")
    assert book.claim("b").reason.text == "moved to n1 to make room for db on n2"
    assert book.claim("b").reason.rule == RULE
    held = book.placement("db")
    assert held
    assert (held.reason.rule, held.reason.text) == (WAITS, "room is made for it on n2: b moves to n1")
    let_it_arrive(book, "b")
    book.lead()
    assert (book.claim("db").phase, book.claim("db").node) == (Phase.ASSIGNED, "n2")
    assert book.claim("db").reason.text.endswith("; b made room for it")


def test_vm_why_says_what_is_moved_for_it_and_what_ends_the_wait() -> None:
    book = full().vm("db", memory_mib=900)
    book.lead()
    snapshot = book.snapshot()
    told = why(snapshot, "db", wall=book.clock.wall())
    assert told.waiting == "room is made for it on n2: b moves to n1"
    assert told.ends_when == ("b has left n2 (by itself)",)
    assert summarize(snapshot.vms[VmName("db")], snapshot, judge_all(snapshot, book.moment())).state is VmState.WAITING


def test_a_forecast_shows_the_moves_and_the_start() -> None:
    book = full("n1", "n2", "n3").running("db", "n3", memory_mib=900)
    found = foresee(suppose(book.snapshot(), NodeLost(node=NodeName("n3"))), book.moment())
    assert [(move.vm, move.source, move.target) for move in found.moves] == [("b", "n2", "n1"), ("db", "n3", "n2")]
    assert (found.down, found.ends, found.interrupted) == ((), True, (VmName("db"),))


def test_by_default_room_is_made_and_a_cluster_can_say_no() -> None:
    assert ClusterConfig().make_room is MakeRoom.MOVES
    assert ClusterConfig.model_validate({"make_room": False}).make_room is MakeRoom.OFF  # YAML's off
    book = full(config=settings(make_room=MakeRoom.OFF)).vm("db", memory_mib=900)
    assert settle(book) == {"a": "n1", "b": "n2", "db": None}


def test_nobody_is_moved_where_it_finds_room_or_where_the_cluster_has_none() -> None:
    assert moves(full().vm("db", memory_mib=700)) == {}
    assert moves(full().vm("db", memory_mib=1001)) == {}
    assert moves(full().running("c", "n1", memory_mib=200).vm("db", memory_mib=900)) == {}


def test_as_few_as_can_be_are_moved() -> None:
    book = cluster("n1", "n2", "n3", memory_mib=1000).running("rest", "n1", memory_mib=500)
    for name in ("b1", "b2", "b3"):
        book.running(name, "n2", memory_mib=150)
    book.running("c", "n3", memory_mib=450).vm("db", memory_mib=900)
    assert moves(book) == {"c": "n1"}
    assert settle(book)["db"] == "n3"


def test_one_that_makes_room_may_need_another_to_move_first() -> None:
    """``b`` fits on n1 only when ``a`` has left it; n3 takes no ``b``."""
    book = cluster("n1", "n2", memory_mib=1000).node("n3", memory_mib=500).running("a", "n1", memory_mib=500)
    book.domain("one", "n2", restricted=True).running("b", "n2", memory_mib=600).vm("db", **ON_N2)
    assert moves(book) == {"a": "n3"}
    assert settle(book) == {"a": "n3", "b": "n1", "db": "n2"}


def test_two_that_would_have_to_trade_places_stay() -> None:
    book = full().running("c", "n1", memory_mib=300).running("d", "n2", memory_mib=600)
    assert moves(book.vm("db", memory_mib=150)) == {}


def test_room_that_becomes_free_anyway_is_waited_for() -> None:
    book = full("n1", "n2", "n3").running("c", "n3", memory_mib=500)
    book.placed("b", "n2", phase=Phase.MIGRATING, target="n3").vm("db", memory_mib=900)
    assert moves(book) == {}
    assert book.lead()
    held = book.placement("db")
    assert held
    assert held.reason.text == "room is made for it on n2: b moves to n3"


@pytest.mark.parametrize("priority", [100, 200])
def test_the_room_that_is_made_is_for_nobody_else(priority: int) -> None:
    book = full("n1", "n2").vm("db", memory_mib=900, priority=200)
    book.lead()
    book.vm("late", memory_mib=300, priority=priority)
    assert settle(book) == {"a": "n1", "b": "n1", "db": "n2", "late": None}


def test_a_new_leader_goes_on_after_any_step() -> None:
    book = cluster("n1", "n2", "n3", memory_mib=1000).running("a", "n1", memory_mib=500)
    book.running("b", "n2", memory_mib=400).running("c", "n3", memory_mib=300).running("d", "n3", memory_mib=300)
    book.vm("db", memory_mib=1000)
    lead_step_by_step(book)
    assert book.claim("db").node == "n2"
    assert book.claim("b").reason.rule == RULE
    assert [book.claim(name).node for name in "acd"] == ["n1", "n3", "n3"]


def test_nobody_is_moved_for_a_less_important_one() -> None:
    assert moves(full().vm("db", memory_mib=900, priority=99)) == {}
    assert moves(full().vm("db", memory_mib=900, priority=101)) == {"b": "n1"}


def test_the_more_important_of_two_that_wait_gets_the_room() -> None:
    book = full().vm("db", memory_mib=900).vm("web", memory_mib=850, priority=200)
    assert settle(book) == {"a": "n1", "b": "n1", "db": None, "web": "n2"}


@pytest.mark.parametrize(
    "spec",
    [
        {"exclusive": 1},
        {"migration": {"style": "pause"}},
        {"failover_domain": "one"},
        {"depends_on": (Dependency(vm="a"),)},
    ],
)
def test_whom_it_does_not_move(spec: dict[str, Any]) -> None:
    book = full().running("b", "n2", memory_mib=300, **spec)
    assert moves(book.vm("db", **ON_N2)) == {}


def test_one_that_is_frozen_or_of_a_service_or_kept_apart_stays() -> None:
    assert moves(full().vm("db", **ON_N2).freeze("b")) == {}
    assert moves(full().vm("db", **ON_N2).service("s", "b")) == {}
    assert moves(full().vm("db", **ON_N2).rule("apart", apart=("a", "b"), hard=True)) == {}


def test_one_that_a_rule_keeps_off_moves_for_it() -> None:
    book = cluster("n1", "n2", memory_mib=1000).running("a", "n1", memory_mib=100).running("c", "n2", memory_mib=700)
    book.rule("apart", apart=("a", "db"), hard=True).vm("db", memory_mib=500)
    assert settle(book) == {"a": "n2", "c": "n2", "db": "n1"}


def test_it_goes_where_it_is_liked_as_much_if_that_takes_no_more_moves() -> None:
    book = full("n1", "n2", "n3").running("x", "n3", memory_mib=700)
    book.domain("d", "n2", "n3").running("b", "n2", memory_mib=300, failover_domain="d")
    assert moves(book.vm("db", **ON_N2)) == {"b": "n3"}
    book.running("x", "n3", memory_mib=750)
    assert settle(book) == {"a": "n1", "b": "n1", "db": "n2", "x": "n3"}  # and it does not go back at once


def test_the_limits_on_migrations_hold() -> None:
    limits = SETTINGS.limits.model_copy(update={"migrations": 1})
    book = cluster("n1", "n2", "n3", memory_mib=1000).configure(settings(limits=limits))
    book.running("a", "n1", memory_mib=600).running("c", "n3", memory_mib=700)
    book.running("b", "n2", memory_mib=300).running("d", "n2", memory_mib=300).vm("db", memory_mib=950)
    assert len(moves(book)) == 1
    assert settle(book)["db"] == "n2"


def test_one_that_could_start_now_starts_elsewhere_or_waits_with_it_so_that_both_run() -> None:
    book = cluster("n1", "n2", memory_mib=1000).running("a", "n1", memory_mib=500).running("z", "n2", memory_mib=100)
    book.vm("b", memory_mib=500).vm("db", memory_mib=900, failover_domain="one").domain("one", "n1", restricted=True)
    assert settle(book) == {"a": "n2", "z": "n2", "b": None, "db": "n1"} or moves(book) == {}


def test_a_start_that_fails_moves_nobody_until_it_has_rested_and_one_that_ends_again_and_again_never() -> None:
    failure = Failure(node=NodeName("n2"), at=full().clock.wall(), error="broken")
    book = full().vm("db", **ON_N2).ended("db", "n2", RunEnd.START_FAILED, failures=(failure,))
    assert moves(book) == {}
    book = full().vm("db", **ON_N2)
    wall = book.clock.wall()
    assert moves(book.ended("db", "n2", RunEnd.CRASHED, endings=(wall - 2, wall - 1))) == {}


def test_when_it_has_not_ended_again_for_long_enough_others_move_for_it_at_once() -> None:
    book = full().vm("db", **ON_N2)
    book.ended("db", "n2", RunEnd.CRASHED, endings=(book.clock.wall() - transitions.ENDINGS_COUNT_FOR_S + 4,))
    made = book.plan()
    assert moves(book) == {}
    assert made.wake_in_s == pytest.approx(4.0)
    book.clock.at += 4.1
    assert moves(book) == {"b": "n1"}


def test_where_others_end_for_it_that_is_looked_for_as_early() -> None:
    book = full(config=settings(preempt=True, make_room=MakeRoom.OFF)).vm("db", memory_mib=900, priority=200)
    book.ended("db", "n2", RunEnd.CRASHED, endings=(book.clock.wall() - transitions.ENDINGS_COUNT_FOR_S + 4,))
    made = book.plan()
    assert [step.vm for step in made.steps if isinstance(step, PlacementStep)] == ["db"]
    assert made.wake_in_s == pytest.approx(4.0)
    book.clock.at += 4.1
    assert moves(book).keys() == {"a"}  # it gives way


def test_a_node_that_rests_after_a_failure_is_moved_to_as_soon_as_it_has_rested() -> None:
    book = full().vm("db", **ON_N2)
    failure = Failure(node=NodeName("n1"), at=book.clock.wall() - 2.0, error="broken")
    book.put_placement(replace(book.claim("b"), failures=(failure,)))
    made = book.plan()
    assert moves(book) == {}
    assert made.wake_in_s == pytest.approx(3.0)
    book.clock.at += 3.1
    assert moves(book) == {"b": "n1"}


def test_after_a_failed_move_it_is_let_alone_for_a_while() -> None:
    book = full().vm("db", **ON_N2)
    book.lead()
    kept = transitions.keep(book.claim("b"), "it failed", book.clock.wall())
    book.put_placement(kept)
    made = book.plan()
    assert moves(book) == {}
    assert made.wake_in_s is not None
    book.clock.at += 61.0
    assert moves(book) == {"b": "n1"}


def test_one_that_has_moved_for_a_vm_does_not_move_for_it_again() -> None:
    book = full().vm("db", **ON_N2)
    book.lead()
    let_it_arrive(book, "b")
    book.running("x", "n2", memory_mib=300)  # a hand was quicker
    assert "b" not in moves(book)


def test_where_more_important_ones_may_stop_others_that_is_done_only_where_moving_is_no_help() -> None:
    config = settings(preempt=True)
    book = full(config=config).vm("db", memory_mib=900, priority=200)
    changes = [(step.vm, step.change) for step in book.plan().steps if isinstance(step, PlacementStep)]
    assert ("b", Change.MIGRATE) in changes
    assert all(change is not Change.STOP for _, change in changes)
    book.running("c", "n1", memory_mib=200)
    changes = [(step.vm, step.change) for step in book.plan().steps if isinstance(step, PlacementStep)]
    assert [vm for vm, change in changes if change is Change.STOP] == ["b"]


def test_in_a_large_cluster_room_is_made_as_well() -> None:
    book = cluster(*(f"n{number:02d}" for number in range(50)), memory_mib=1000)
    for number in range(50):
        book.running(f"vm{number:02d}", f"n{number:02d}", memory_mib=450)
    assert len(moves(book.vm("db", **ON_N2))) == 1
    assert settle(book)["db"] is not None
