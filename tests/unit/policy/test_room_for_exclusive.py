"""An exclusive vm that finds no empty node has one emptied for it, by moves alone."""

from tests.support.clusters import Book, cluster
from tests.support.room import let_it_arrive, moves, settle
from vmha.model.records import Phase
from vmha.policy.placing.room_asked import WAITS


def shared() -> Book:
    """Two nodes with a vm each; ``db`` wants one for itself, or would have room beside either."""
    book = cluster("n1", "n2", memory_mib=1000).running("a", "n1", memory_mib=300).running("b", "n2", memory_mib=200)
    return book.vm("db", memory_mib=100, exclusive=1)


def test_a_node_is_emptied_for_an_exclusive_vm_that_finds_none() -> None:
    book = shared()
    (mover,) = moves(book)
    book.lead()
    held = book.placement("db")
    assert held
    assert held.reason.rule == WAITS
    book.lead()
    held = book.placement("db")
    assert held
    assert held.reason.rule == WAITS  # also while the last one is on its way out
    let_it_arrive(book, mover)
    there = settle(book)
    assert there["a"] == there["b"] != there["db"] is not None


def test_nobody_else_starts_on_a_node_that_is_being_emptied() -> None:
    book = shared()
    book.lead()
    book.vm("late", memory_mib=600)
    there = settle(book)
    assert [name for name in there if there[name] == there["db"]] == ["db"]
    assert there["late"] is None  # the other node is full


def test_a_node_with_one_that_may_not_move_is_not_emptied() -> None:
    book = shared().freeze("a").freeze("b")
    assert moves(book) == {}
    assert moves(shared().freeze("a")) == {"b": "n1"}
    assert moves(shared().vm("a", memory_mib=300, priority=200).vm("b", memory_mib=200, priority=200)) == {}


def test_several_leave_it_as_few_as_can_be() -> None:
    book = shared().running("c", "n1", memory_mib=100)
    assert moves(book) == {"b": "n1"}
    book = shared().running("c", "n1", memory_mib=600).running("d", "n2", memory_mib=100)  # b fits nowhere else
    assert moves(book) == {}


def test_two_exclusive_ones_get_a_node_each() -> None:
    book = cluster("n1", "n2", "n3", memory_mib=1000)
    for name, node in (("a", "n1"), ("b", "n2"), ("c", "n3")):
        book.running(name, node, memory_mib=200)
    book.vm("x", exclusive=1, memory_mib=100).vm("y", exclusive=2, memory_mib=100)
    there = settle(book)
    assert there["a"] == there["b"] == there["c"]
    assert len({there["a"], there["x"], there["y"]}) == 3
    assert None not in there.values()


def test_a_less_important_exclusive_one_gives_way_as_before() -> None:
    book = cluster("n1", "n2", memory_mib=1000).running("less", "n1", exclusive=2, memory_mib=100)
    book.running("b", "n2", memory_mib=900, priority=200).vm("more", exclusive=1, memory_mib=100)
    book.lead()
    assert book.claim("less").phase is Phase.STOPPING
