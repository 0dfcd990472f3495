"""Who leaves a drained node first, what would stay on it, and what remembers where it came from."""

import pytest

from tests.support.clusters import SETTINGS, Book, cluster
from vmha.model.ids import NodeName
from vmha.model.records import Phase, Placement, RunEnd, SeenState, Verb
from vmha.model.settings import Limits
from vmha.policy.deciding.drain import away_from
from vmha.policy.state import transitions
from vmha.policy.state.steps import Change, PlacementStep
from vmha.policy.telling.drain_check import cannot_leave

N1, N2, N3 = NodeName("n1"), NodeName("n2"), NodeName("n3")


def draining(*others: str, at_once: int = 4) -> Book:
    """n1 is drained; the others take vms."""
    book = cluster("n1", *others).node("n1", spec={"maintenance": True})
    return book.configure(SETTINGS.model_copy(update={"limits": Limits(migrations_per_node=at_once)}))


def sent_off(book: Book) -> list[str]:
    return [step.vm for step in book.plan().steps if isinstance(step, PlacementStep) and step.change is Change.MIGRATE]


def arrive(book: Book, vm: str) -> Placement:
    """Its migration ends well."""
    placed = transitions.hand_over(book.claim(vm), book.clock.wall())
    book.put_placement(placed)
    assert placed.node
    book.put_placement(transitions.claim(placed, book.snapshot().nodes[placed.node].session_id, book.clock.wall()))  # type: ignore[arg-type]
    for node in ("n1", "n2", "n3"):
        if node != placed.node and NodeName(node) in book.snapshot().vms[placed.vm].seen:
            book.seen(node, vm, SeenState.RUNNING, session="over")
    book.seen(placed.node, vm)
    return book.claim(vm)


def test_the_largest_leaves_first_within_the_limits() -> None:
    book = draining("n2", "n3", at_once=2)
    for name, memory_mib in (("a", 100), ("b", 900), ("c", 500), ("d", 700)):
        book.running(name, "n1", memory_mib=memory_mib)
    assert sent_off(book) == ["b", "d"]


def test_importance_comes_before_size_and_vms_elsewhere_keep_their_turn() -> None:
    book = draining("n2", "n3").running("small", "n1", memory_mib=100, priority=500)
    book.running("large", "n1", memory_mib=900).vm("new")
    names = [step.vm for step in book.plan().steps if isinstance(step, PlacementStep)]
    assert names == ["small", "large", "new"]


def test_a_vm_remembers_the_node_that_a_drain_took_it_from() -> None:
    book = draining("n2").running("web", "n1")
    book.lead(rounds=2)
    assert book.claim("web").drained_from == N1
    arrive(book, "web")
    assert book.claim("web").drained_from == N1
    assert away_from(N1, book.snapshot()) == ["web"]
    assert away_from(N2, book.snapshot()) == []


def test_it_remembers_over_a_crash_and_the_loss_of_the_node_where_it_is() -> None:
    book = draining("n2", "n3").running("web", "n1")
    book.lead(rounds=2)
    held = arrive(book, "web")
    crashed = transitions.release(held, RunEnd.CRASHED, "it crashed", book.clock.wall())
    assert transitions.assign(held.vm, crashed, N3, held.reason, book.clock.wall()).drained_from == N1


def test_drained_on_its_way_round_it_remembers_the_first_node_while_that_is_in_maintenance() -> None:
    book = draining("n2", "n3").running("web", "n1")
    book.lead(rounds=2)
    where = arrive(book, "web").node
    assert where
    book.node(where, spec={"maintenance": True})
    book.lead(rounds=2)
    assert book.claim("web").drained_from == N1
    again = draining("n2", "n3").running("web", "n1")
    again.lead(rounds=2)
    where = arrive(again, "web").node
    assert where
    again.node("n1").node(where, spec={"maintenance": True})
    again.lead(rounds=2)
    assert again.claim("web").drained_from == where


def test_whoever_moves_it_otherwise_makes_it_forget() -> None:
    book = draining("n2", "n3").running("web", "n1")
    book.lead(rounds=2)
    held = arrive(book, "web")
    other = "n3" if held.node == N2 else "n2"
    book.request(Verb.MIGRATE, vm="web", node=other)
    book.lead(rounds=3)
    moved = book.claim("web")
    assert (moved.phase, moved.target, moved.drained_from) == (Phase.MIGRATING, other, None)
    assert away_from(N1, book.snapshot()) == []


def test_an_undrain_alone_moves_nothing() -> None:
    book = draining("n2").running("web", "n1")
    book.lead(rounds=2)
    arrive(book, "web")
    book.node("n1")
    assert sent_off(book) == []


@pytest.mark.parametrize(
    ("state", "words"),
    [(SeenState.PAUSED, "it is paused there"), (SeenState.OUTGOING, "it is outgoing there")],
)
def test_what_does_not_run_can_not_leave_and_says_why(state: SeenState, words: str) -> None:
    book = cluster("n1", "n2").vm("web").placed("web", "n1").seen("n1", "web", state)
    (left,) = cannot_leave(book.snapshot(), N1, book.moment())
    assert (left.vm, words in left.text) == ("web", True)


def test_a_frozen_vm_can_not_leave_and_says_by_whom() -> None:
    (left,) = cannot_leave(cluster("n1", "n2").running("web", "n1").freeze("web").snapshot(), N1, Book().moment())
    assert left.text == "it is frozen by ann"


def test_what_would_stay_is_named_with_what_each_node_says_and_nothing_else() -> None:
    book = cluster("n1", "n2", memory_mib=1000).running("web", "n1", memory_mib=200)
    book.running("big", "n1", memory_mib=600).running("db", "n2", memory_mib=500)
    (left,) = cannot_leave(book.snapshot(), N1, book.moment())
    assert left.vm == "big"
    assert "n2 has" in left.text
    assert cannot_leave(book.snapshot(), N2, book.moment())[0].vm == "db"
    assert cannot_leave(cluster("n1", "n2").running("web", "n1").snapshot(), N1, book.moment()) == []
