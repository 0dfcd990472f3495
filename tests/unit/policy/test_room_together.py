"""Where room is not found for one vm after the other, all that wait are looked at together, move by move."""

import pytest

from tests.support.clusters import Book, cluster
from tests.support.room import lead_step_by_step, let_it_arrive, moves, settle
from vmha.model.records import Phase
from vmha.policy.placing.room_asked import ASIDE, RULE
from vmha.policy.room.move_by_move import Mover, Puzzle, Waiting, Way, find_way
from vmha.policy.state.reservation import Size


def in_the_way() -> Book:
    """``db`` finds room on n2 once ``b`` is on n1 and ``a`` on n2, where neither fits beside the other; n3 takes
    ``a`` for a while, and ``web`` for good.
    """
    book = cluster("n1", "n2", memory_mib=1000).node("n3", memory_mib=600)
    book.domain("low", "n1", "n2", restricted=True).domain("two", "n2", restricted=True)
    book.domain("three", "n3", restricted=True)
    book.running("a", "n1", memory_mib=600).running("b", "n2", memory_mib=700, failover_domain="low")
    book.vm("db", memory_mib=400, failover_domain="two")
    return book.vm("web", memory_mib=600, failover_domain="three")


def test_one_is_moved_out_of_the_way_for_a_while_and_moves_on() -> None:
    book = in_the_way()
    book.lead()
    assert (book.claim("a").reason.rule, book.claim("a").reason.text) == (
        ASIDE,
        "moved to n3 for a while to make room for db on n2",
    )
    let_it_arrive(book, "a")
    book.lead()
    assert (book.claim("b").target, book.claim("a").phase) == ("n1", Phase.HELD)
    let_it_arrive(book, "b")
    book.lead()
    assert (book.claim("a").target, book.claim("a").reason.rule) == ("n2", RULE)
    assert settle(book) == {"a": "n2", "b": "n1", "db": "n2", "web": "n3"}


def test_nobody_is_sent_to_and_fro_when_the_way_is_barred_meanwhile() -> None:
    book = in_the_way()
    book.lead()
    let_it_arrive(book, "a")
    book.running("late", "n1", memory_mib=500)  # a hand was quicker
    assert settle(book) == {"a": "n3", "b": "n2", "db": None, "late": "n1", "web": None}


def test_a_new_leader_goes_on_after_any_step_of_them() -> None:
    book = in_the_way()
    lead_step_by_step(book)
    assert settle(book) == {"a": "n2", "b": "n1", "db": "n2", "web": "n3"}


@pytest.mark.parametrize(("priority", "placed"), [(100, ["m1", "m2"]), (200, ["big"])])
def test_one_that_could_start_is_left_to_two_others_unless_it_is_more_important(
    priority: int, placed: list[str]
) -> None:
    book = cluster("n1", memory_mib=1000).node("n2", memory_mib=300).running("a", "n1", memory_mib=300)
    book.vm("big", memory_mib=700, priority=priority).vm("m1", memory_mib=500).vm("m2", memory_mib=500)
    there = settle(book)
    assert [name for name in ("big", "m1", "m2") if there[name]] == placed


def test_nobody_more_important_than_those_that_wait_is_moved_for_them() -> None:
    book = in_the_way().vm("a", memory_mib=600, priority=200)
    assert moves(book) == {}
    assert settle(book)["web"] == "n3"


def test_as_few_moves_as_can_be_for_all_of_them() -> None:
    """For ``x`` alone ``c`` would move to n3, and then ``y`` would need two moves more."""
    puzzle = Puzzle(
        left=((10, 9), (10, 9), (6, 9)),
        movers=(
            Mover(need=Size(4, 1), home=0, targets=(1, 2)),
            Mover(need=Size(6, 1), home=1, targets=(0,)),
        ),
        waiting=(Waiting(level=1, need=Size(6, 1), targets=(2,)), Waiting(level=1, need=Size(10, 1), targets=(1,))),
        placed=(1,),
        moves=0,
    )
    assert find_way(puzzle) == Way(moves=((1, 0),), nodes=(2, 1))


def test_a_bounded_search_that_is_used_up_finds_nothing_and_what_was_known_stands() -> None:
    many = tuple(Mover(need=Size(2, 0), home=number % 6, targets=tuple(range(6))) for number in range(24))
    puzzle = Puzzle(
        left=((9, 9),) * 6,
        movers=many,
        waiting=tuple(Waiting(level=1, need=Size(9, 0), targets=tuple(range(6))) for _ in range(4)),
        placed=(0,),
        moves=0,
    )
    assert find_way(puzzle, looks=100) is None


def test_one_that_nothing_helps_costs_a_less_important_one_no_room() -> None:
    """``top`` may not be beside ``db``, which stays: the move that lets ``low`` start is no move too many for that."""
    book = cluster("n1", "n2", memory_mib=1000).rule("apart", apart=("top", "db"), hard=True)
    book.running("big", "n1", memory_mib=650, priority=300).running("db", "n2", memory_mib=400, priority=300)
    book.running("small", "n2", memory_mib=250, priority=100)
    book.vm("top", memory_mib=400, priority=200).vm("low", memory_mib=400, priority=100)
    assert settle(book) == {"big": "n1", "db": "n2", "low": "n2", "small": "n1", "top": None}
