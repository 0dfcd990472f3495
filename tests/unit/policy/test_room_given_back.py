"""What a lost vm still claims on its node does not keep it from that node."""

import pytest

from tests.support.clusters import Book, cluster
from vmha.model.ids import NodeName, SessionId
from vmha.model.records import Phase
from vmha.sim.judge.of_relations import check_relations


def lost_where_others_are_full(**held: object) -> Book:
    """Nodes of 1000 MiB. n1 is back, with a new session; db (700) is held by the one before, web (700) runs on n2."""
    book = cluster("n1", "n2", memory_mib=1000).running("web", "n2", memory_mib=700).vm("db", memory_mib=700)
    book.placed("db", "n1", **{"session": SessionId("s-before"), **held})  # type: ignore[arg-type]
    return book.fenced("s-before", "n1")


def test_vm_comes_back_on_the_only_node_with_room_though_its_lost_claim_is_of_that_node() -> None:
    book = lost_where_others_are_full()
    book.lead(rounds=3)
    assert (book.claim("db").phase, book.claim("db").node) == (Phase.ASSIGNED, "n1")


def test_vm_that_was_migrating_comes_back_at_its_target_though_it_counts_there_already() -> None:
    book = cluster("n1", "n2", memory_mib=1000).running("web", "n1", memory_mib=700).vm("db", memory_mib=700)
    moving = {"phase": Phase.MIGRATING, "session": SessionId("s-n3"), "target": NodeName("n2")}
    book.placed("db", "n3", **moving).fenced("s-n3", "n3")  # type: ignore[arg-type]
    book.lead(rounds=3)
    assert (book.claim("db").phase, book.claim("db").node) == (Phase.ASSIGNED, "n2")


@pytest.mark.parametrize("fits", [True, False])
def test_its_room_is_kept_for_itself_and_a_vm_beside_it_starts_if_both_fit(fits: bool) -> None:
    book = lost_where_others_are_full().vm("app", memory_mib=300 if fits else 301, priority=200)
    book.lead(rounds=4)
    assert (book.claim("db").phase, book.claim("db").node) == (Phase.ASSIGNED, "n1")
    assert (book.claim("app").phase, book.claim("app").node) == (
        (Phase.ASSIGNED, "n1") if fits else (Phase.STOPPED, None)
    )
    assert check_relations(book.record) == []


def test_one_of_its_size_that_waits_for_room_does_not_keep_it_waiting() -> None:
    """What was found for that one is no answer for it."""
    book = lost_where_others_are_full().vm("app", memory_mib=700, priority=200)
    book.lead(rounds=4)
    assert (book.claim("db").phase, book.claim("db").node) == (Phase.ASSIGNED, "n1")
    assert book.claim("app").phase is Phase.STOPPED
    assert check_relations(book.record) == []


def test_many_lost_ones_of_a_node_are_not_held_to_be_starting_there() -> None:
    """Nobody starts them: else none of them ever would, where the node is the only one that can take them."""
    book = cluster("n1")
    names = [f"v{number}" for number in range(book.snapshot().config.limits.starts_per_node + 4)]
    for name in names:
        book.vm(name).placed(name, "n1", session=SessionId("s-before"))
    book.fenced("s-before", "n1")
    book.carry_out(book.plan(), book.snapshot())
    assert sum(book.claim(name).phase is Phase.ASSIGNED for name in names) == len(names) - 4


def test_one_that_is_to_be_apart_from_it_does_not_have_it_wait_for_nothing() -> None:
    """That one is more important, but can not have the node either while the lost one's claim is there."""
    book = cluster("n1").vm("db").vm("web", priority=200).rule("r", apart=("db", "web"), hard=True)
    book.placed("db", "n1", session=SessionId("s-before")).fenced("s-before", "n1")
    book.lead(rounds=4)
    assert (book.claim("db").phase, book.claim("db").node) == (Phase.ASSIGNED, "n1")
    assert book.claim("web").phase is Phase.STOPPED
