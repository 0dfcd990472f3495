"""A wait is put on record once it has stood, by the leader's own count."""

from tests.support.clusters import Book, cluster
from vmha.leader.waits import Waits
from vmha.model.ids import Revision
from vmha.policy.deciding.passing import STANDS_S
from vmha.policy.state.steps import Change, PlacementStep, Plan


def noted(made: Plan) -> list[str]:
    return [step.reason.rule for step in made.steps if isinstance(step, PlacementStep) and step.change is Change.NOTE]


def plan_at(book: Book, waits: Waits, at: float) -> Plan:
    """As a leader plans, and counts."""
    book.clock.at = at
    made = book.plan(waits_s=waits.at(at))
    waits.took(made, at)
    book.carry_out(made, book.snapshot())
    return made


def without_room() -> Book:
    return cluster("n1", "n2", memory_mib=1000).vm("web", memory_mib=2000)


def test_wait_is_put_on_record_when_it_has_stood_and_only_then() -> None:
    book, waits = without_room(), Waits()
    first = plan_at(book, waits, 0.0)
    assert noted(first) == []
    assert first.waiting[0].text.startswith("no node can take it")
    assert first.wake_in_s is not None
    assert first.wake_in_s <= STANDS_S
    assert noted(plan_at(book, waits, STANDS_S / 2)) == []
    assert noted(plan_at(book, waits, STANDS_S)) == ["no-node-can-take-it"]
    assert noted(plan_at(book, waits, STANDS_S * 2)) == []


def test_wait_that_becomes_another_one_is_counted_anew() -> None:
    book, waits = without_room(), Waits()
    plan_at(book, waits, 0.0)
    book.node("n3", looked_for=Revision(1))
    assert noted(plan_at(book, waits, STANDS_S)) == []
    assert noted(plan_at(book, waits, STANDS_S * 2)) == ["its-whereabouts-are-unknown"]


def test_wait_that_was_over_in_between_is_counted_anew() -> None:
    book, waits = without_room(), Waits()
    plan_at(book, waits, 0.0)
    book.vm("web", memory_mib=2000, desired="stopped")
    plan_at(book, waits, STANDS_S / 2)
    book.vm("web", memory_mib=2000)
    assert noted(plan_at(book, waits, STANDS_S)) == []


def test_nodes_that_have_yet_to_join_are_waited_for_as_one() -> None:
    """Another one every instant, while a cluster comes up."""
    book, waits = cluster("n1").node("n2", status=False).node("n3", looked_for=Revision(1)).vm("web"), Waits()
    assert "n2 has not published its inventory yet" in plan_at(book, waits, 0.0).waiting[0].text
    book.node("n2")
    made = plan_at(book, waits, STANDS_S)
    assert "n3 has not looked for it yet" in made.waiting[0].text
    assert noted(made) == ["its-whereabouts-are-unknown"]


def test_who_makes_no_plan_after_the_other_takes_what_waits_for_lasting() -> None:
    assert noted(without_room().plan()) == ["no-node-can-take-it"]
