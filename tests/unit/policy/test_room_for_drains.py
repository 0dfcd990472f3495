"""A drained node: what fits nowhere else leaves it once others have made room, after all that are to start."""

from tests.support.clusters import SETTINGS, Book, cluster
from tests.support.room import let_it_arrive, moves, settle
from vmha.model.ids import NodeName
from vmha.model.settings import MakeRoom
from vmha.operator.why import why
from vmha.policy.placing.room_asked import RULE, WAITS
from vmha.policy.telling.drain_check import cannot_leave


def draining() -> Book:
    """n3 is drained; ``db`` finds room on n2 once ``b`` has moved to n1."""
    book = cluster("n1", "n2", memory_mib=1000).node("n3", memory_mib=1000, spec={"maintenance": True})
    book.running("a", "n1", memory_mib=600).running("b", "n2", memory_mib=300)
    return book.running("db", "n3", memory_mib=900)


def test_others_move_for_what_is_to_leave_a_drained_node_and_both_say_so() -> None:
    book = draining()
    book.lead()
    assert (book.claim("b").target, book.claim("b").reason.rule) == ("n1", RULE)
    assert book.claim("b").reason.text == "moved to n1 to make room for db on n2"
    assert (book.claim("db").reason.rule, book.claim("db").node) == (WAITS, "n3")
    assert book.claim("db").reason.text.endswith("; room is made for it on n2: b moves to n1")
    told = why(book.snapshot(), "db", wall=book.clock.wall())
    assert told.waiting == book.claim("db").reason.text
    assert told.ends_when == ("b has left n2 (by itself)",)
    let_it_arrive(book, "b")
    book.lead()
    assert book.claim("db").target == "n2"
    assert book.claim("db").reason.text.endswith("; b made room for it")
    assert settle(book) == {"a": "n1", "b": "n1", "db": "n2"}
    assert book.claim("db").drained_from == "n3"


def test_a_drain_is_not_refused_for_want_of_room_that_can_be_made() -> None:
    book = draining().node("n3", memory_mib=1000)
    assert cannot_leave(book.snapshot(), NodeName("n3"), book.moment()) == []
    book.running("c", "n1", memory_mib=200)
    assert [one.vm for one in cannot_leave(book.snapshot(), NodeName("n3"), book.moment())] == ["db"]


def test_nobody_is_moved_for_it_where_the_cluster_says_no_or_where_it_is_less_important() -> None:
    off = SETTINGS.model_copy(update={"make_room": MakeRoom.OFF})
    assert settle(draining().configure(off))["db"] == "n3"
    book = draining().vm("a", memory_mib=600, priority=200).vm("b", memory_mib=300, priority=200)
    assert moves(book) == {}


def test_two_that_leave_are_arranged_so_that_both_find_room() -> None:
    """The larger one leaves first and would take n1, the only node that ``small`` may go to."""
    book = cluster("n1", memory_mib=1000).node("n2", memory_mib=601)
    book.node("n3", memory_mib=2000, spec={"maintenance": True}).domain("one", "n1", "n3", restricted=True)
    book.running("large", "n3", memory_mib=600).running("small", "n3", memory_mib=500, failover_domain="one")
    book.running("x", "n2", memory_mib=1)
    assert settle(book) == {"large": "n2", "small": "n1", "x": "n2"}


def test_what_is_to_start_has_the_room_before_what_leaves_a_drained_node() -> None:
    book = draining().vm("web", memory_mib=900)
    there = settle(book)
    assert there["web"] in ("n1", "n2")
    assert there["db"] == "n3"


def test_a_new_leader_goes_on_after_any_step_of_a_drain_that_needs_room() -> None:
    book = draining()
    for _ in range(4):
        decided_on = book.snapshot()
        for step in book.plan().steps[:1]:
            book.apply(step, decided_on)
        book.elect()
    assert settle(book) == {"a": "n1", "b": "n1", "db": "n2"}
