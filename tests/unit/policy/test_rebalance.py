"""Opt-in: a full node is relieved, one vm at a time, and nothing is ever moved back."""

from typing import Any

import pytest

from tests.support.clusters import SETTINGS, WALL, Book, cluster
from vmha.model.ids import NodeName
from vmha.model.records import Failure, Phase, Verb
from vmha.model.settings import Capacity, ClusterConfig, Rebalance
from vmha.model.vm import Migration, MigrationStyle
from vmha.operator.rebalance import find_shifts
from vmha.policy.placing.placement import survey
from vmha.policy.plan import judge_all
from vmha.policy.rebalance import RULE, find_shift
from vmha.policy.state import transitions
from vmha.policy.state.census import take
from vmha.policy.state.steps import Change, PlacementStep
from vmha.policy.telling.forecast import foresee

RULES = Rebalance(enabled=True, threshold_percent=70, margin_percent=20, hold_s=600)


def configured(book: Book, **fields: Any) -> Book:
    rules = RULES.model_copy(update=fields)
    return book.configure(SETTINGS.model_copy(update={"rebalance": rules}))


def full(*others: str, **fields: Any) -> Book:
    """n1 of 1000 MiB runs a (400), b (300) and c (200) since an hour; the others are empty."""
    book = configured(cluster("n1", *others, memory_mib=1000), **fields)
    for name, memory in (("a", 400), ("b", 300), ("c", 200)):
        book.running(name, "n1", memory_mib=memory)
    book.clock.at += 3600.0
    return book


def moves(book: Book) -> dict[str, str | None]:
    steps = [step for step in book.plan().steps if isinstance(step, PlacementStep)]
    return {step.vm: step.placement.target for step in steps if step.placement and step.change is Change.MIGRATE}


def left_s(book: Book) -> float:
    """In how many seconds a plan looks again."""
    snapshot, moment = book.snapshot(), book.moment()
    found, left = find_shift(survey(snapshot, judge_all(snapshot, moment), moment.wall), take(snapshot.vms))
    assert found is None
    assert left is not None
    return left


def arrive(book: Book, vm: str) -> None:
    held = book.claim(vm)
    assert held.phase is Phase.MIGRATING
    assert held.node
    assert held.target
    node = book.snapshot().nodes[held.target]
    assert node.session_id
    handed = transitions.hand_over(held, book.clock.wall())
    book.put_placement(transitions.claim(handed, node.session_id, book.clock.wall()))
    book.delete(f"/vmha/t/nodes/{held.node}/vms/{vm}")
    book.seen(held.target, vm)


def test_by_default_nothing_is_moved() -> None:
    assert not ClusterConfig().rebalance.enabled
    assert moves(full("n2", enabled=False)) == {}


def test_the_vm_whose_move_leaves_the_fuller_node_emptiest_goes_and_its_reason_names_the_loads() -> None:
    book = full("n2")
    assert moves(book) == {"a": "n2"}
    (step,) = [step for step in book.plan().steps if isinstance(step, PlacementStep)]
    assert (step.reason.rule, step.reason.text) == (RULE, "n1 is 90 % full and n2 0 %; then 50 % and 40 %")


def test_a_plan_on_its_own_result_proposes_nothing_and_what_has_moved_is_not_moved_back() -> None:
    book = full("n2", hold_s=0)
    book.lead(rounds=2)
    assert moves(book) == {}
    arrive(book, "a")
    book.lead(rounds=2)
    assert moves(book) == {}


@pytest.mark.parametrize("fields", [{"threshold_percent": 91}, {"margin_percent": 91}, {"margin_percent": 75}])
def test_below_the_threshold_or_without_the_margin_nothing_is_moved(fields: dict[str, int]) -> None:
    assert moves(full("n2", **fields)) == {}


def test_nothing_moves_before_both_nodes_have_been_so_for_the_hold_time_and_the_plan_wakes_then() -> None:
    book = full("n2", hold_s=7200)
    assert moves(book) == {}
    wake = left_s(book)
    assert wake == pytest.approx(3600.0)
    book.clock.at += wake + 1.0
    assert moves(book) == {"a": "n2"}


def test_vcpus_count_where_they_are_limited() -> None:
    book = cluster("n1", "n2", memory_mib=1000, vcpus=10)
    config = {"rebalance": RULES, "capacity": Capacity(vcpu_overcommit=1.0)}
    book.configure(SETTINGS.model_copy(update=config))
    for name in ("a", "b"):
        book.running(name, "n1", memory_mib=10, vcpus=4)
    book.clock.at += 3600.0
    assert moves(book) == {"a": "n2"}


def test_a_node_that_a_failover_domain_likes_less_or_that_a_rule_forbids_gets_nothing() -> None:
    book = full("n2").domain("home", "n1", "n2", ordered=True)
    for name, memory in (("a", 400), ("b", 300), ("c", 200)):
        book.vm(name, memory_mib=memory, failover_domain="home")
    assert moves(book) == {}
    apart = full("n2").vm("z", memory_mib=1).placed("z", "n2").seen("n2", "z").rule("r", apart=("a", "z"), hard=True)
    apart.clock.at += 3600.0
    assert moves(apart) == {"b": "n2"}


def test_one_that_must_not_be_moved_stays_and_another_goes() -> None:
    frozen = full("n2").freeze("a")
    assert moves(frozen) == {"b": "n2"}
    not_home = full("n2").vm("a", memory_mib=400, failback={"enabled": False})
    assert moves(not_home) == {"b": "n2"}
    paused = full("n2").vm("a", memory_mib=400, migration=Migration(style=MigrationStyle.PAUSE))
    assert moves(paused) == {"b": "n2"}
    exclusive = full("n2").vm("b", memory_mib=300, exclusive=1)
    assert "b" not in moves(exclusive)
    failed = full("n2")
    failure = Failure(node=NodeName("n2"), at=WALL, error="no route", moving=True)
    failed.placed("a", "n1", failures=(failure,), since=WALL)
    assert moves(failed) == {"b": "n2"}


def test_outside_its_windows_a_vm_stays_and_the_plan_wakes_when_one_opens() -> None:
    book = full("n2")
    for name, memory in (("a", 400), ("b", 300), ("c", 200)):
        book.vm(name, memory_mib=memory, failback={"windows": ["04:00-04:30"]})
    assert moves(book) == {}
    book.clock.at += left_s(book) + 1.0
    assert moves(book) == {"a": "n2"}


def test_whatever_else_is_to_be_done_comes_first() -> None:
    asked = full("n2", "n3").request(Verb.MIGRATE, vm="c", node="n3")
    assert set(moves(asked)) <= {"c"}
    starting = full("n2").vm("new", memory_mib=10)
    assert moves(starting) == {}
    silent = full("n2", "n3")
    steps = silent.plan(silence_s={"n3": 60.0}).steps
    assert not any(isinstance(step, PlacementStep) and step.change is Change.MIGRATE for step in steps)


def test_what_if_shows_the_moves_until_nothing_is_to_be_gained() -> None:
    book = full("n2", "n3", hold_s=60, threshold_percent=40)
    found = foresee(book.snapshot(), book.moment())
    assert found.ends
    assert [move.reason.rule for move in found.moves] == [RULE] * len(found.moves)
    assert {move.vm for move in found.moves} == {"a", "c"}


def test_an_operator_sees_and_asks_for_all_moves_at_once_though_it_is_not_enabled() -> None:
    book = full("n2", "n3", enabled=False, threshold_percent=40, hold_s=1e5)
    found = find_shifts(book.snapshot(), wall=book.clock.wall())
    assert [(one.vm, one.source) for one in found] == [("a", "n1"), ("c", "n1")]
    assert {one.target for one in found} == {"n2", "n3"}
