"""Of the vms that are to start as many as can be find room; what runs is not moved for it."""

import pytest

from tests.support.clusters import SETTINGS, Book, cluster
from vmha.model.records import Phase, RunEnd
from vmha.model.vm import Desired
from vmha.policy.room.for_all import FOR_OTHERS, VMS_AT_MOST
from vmha.policy.state import transitions
from vmha.policy.telling.forecast import losses
from vmha.policy.telling.survival import survival


def two_nodes(small: int = 1000, large: int = 2000) -> Book:
    return cluster("n1").node("n1", memory_mib=small).node("n2", memory_mib=large)


def with_limits(book: Book, **limits: int) -> Book:
    return book.configure(SETTINGS.model_copy(update={"limits": SETTINGS.limits.model_copy(update=limits)}))


def settle(book: Book) -> dict[str, str | None]:
    """Plans, and every node claims and starts what it is given, until nothing is planned any more: who is where."""
    for _ in range(12):
        book.lead()
        assigned = [
            placement
            for view in book.snapshot().vms.values()
            if view.placement and (placement := view.placement.value).phase is Phase.ASSIGNED
        ]
        if not assigned:
            break
        for placement in assigned:
            assert placement.node
            session = book.snapshot().nodes[placement.node].session_id
            assert session
            book.put_placement(transitions.claim(placement, session, book.clock.wall()))
            book.seen(placement.node, placement.vm)
    else:
        raise AssertionError("it does not come to rest")
    found = {name: view.placement.value for name, view in book.snapshot().vms.items() if view.placement}
    return {str(name): placement.node for name, placement in found.items()}


def test_a_small_vm_leaves_the_only_node_that_is_large_enough_to_a_large_one() -> None:
    book = two_nodes().running("here", "n1", memory_mib=100).vm("a", memory_mib=800).vm("b", memory_mib=1900)
    assert settle(book) == {"here": "n1", "a": "n1", "b": "n2"}
    assert book.claim("a").reason.text.endswith("n1 is taken so that others that are to start find room, too")


def test_where_all_find_room_one_after_the_other_nothing_is_arranged() -> None:
    book = two_nodes().running("here", "n1", memory_mib=100).vm("a", memory_mib=800).vm("b", memory_mib=900)
    assert settle(book) == {"here": "n1", "a": "n2", "b": "n1"}
    assert book.claim("a").reason.text.endswith("n2 is preferred: fewest vms")


def test_one_large_vm_waits_where_two_others_fit_in_its_stead_and_says_so() -> None:
    book = cluster("n1", memory_mib=1000).vm("a", memory_mib=900).vm("b", memory_mib=500).vm("c", memory_mib=500)
    assert settle(book) == {"a": None, "b": "n1", "c": "n1"}
    first = cluster("n1", memory_mib=1000).vm("a", memory_mib=900).vm("b", memory_mib=500).vm("c", memory_mib=500)
    (said,) = [waiting.text for waiting in first.plan().waiting if waiting.vm == "a"]
    assert said == f"no node can take it: n1 {FOR_OTHERS}"


def test_a_more_important_vm_is_not_left_out_for_any_number_of_less_important_ones() -> None:
    book = cluster("n1", memory_mib=1000).vm("a", memory_mib=900, priority=200)
    book.vm("b", memory_mib=500).vm("c", memory_mib=500)
    assert settle(book) == {"a": "n1", "b": None, "c": None}


def test_a_more_important_vm_goes_elsewhere_so_that_a_less_important_one_finds_room() -> None:
    book = two_nodes().running("here", "n1", memory_mib=100)
    book.vm("a", memory_mib=800, priority=200).vm("b", memory_mib=1900)
    assert settle(book) == {"here": "n1", "a": "n1", "b": "n2"}


def test_nobody_goes_to_a_node_that_it_prefers_less_for_anothers_sake() -> None:
    book = two_nodes().domain("d", "n2", "n1", ordered=True)
    book.vm("a", memory_mib=800, priority=200, failover_domain="d").vm("b", memory_mib=1900)
    assert settle(book) == {"a": "n2", "b": None}


def test_a_crashed_vm_starts_again_where_it_ran_though_another_could_start_then() -> None:
    book = two_nodes().running("here", "n1", memory_mib=100).vm("a", memory_mib=800).vm("b", memory_mib=1900)
    book.ended("a", "n2", RunEnd.CRASHED)
    assert settle(book)["a"] == "n2"


def test_what_runs_stays_where_it_is_though_others_would_find_room() -> None:
    book = two_nodes().running("here", "n2", memory_mib=800).vm("a", memory_mib=900).vm("b", memory_mib=1900)
    assert settle(book) == {"here": "n2", "a": "n1", "b": None}


def test_vms_that_a_rule_keeps_apart_stay_apart() -> None:
    book = cluster("n1", "n2", memory_mib=1000).rule("apart", apart=("a", "b"), hard=True)
    for name, memory in (("a", 300), ("b", 300), ("c", 700), ("d", 700)):
        book.vm(name, memory_mib=memory)
    found = settle(book)
    assert None not in found.values()
    assert found["a"] != found["b"]


@pytest.mark.parametrize("limits", [{"starts_per_node": 1}, {"starts": 1}, {}])
def test_the_place_of_a_vm_that_waits_for_its_turn_is_kept_for_it(limits: dict[str, int]) -> None:
    book = with_limits(cluster("n1", memory_mib=1000).node("n2", memory_mib=1000), **limits)
    for name, memory in (("a", 400), ("b", 400), ("c", 600), ("d", 600)):
        book.vm(name, memory_mib=memory, desired=Desired.RUNNING)
    assert None not in settle(book).values()


def test_vms_of_a_lost_node_find_room_together_and_n_plus_1_knows() -> None:
    book = cluster("n1", "n2", "n3", memory_mib=2000).node("n2", memory_mib=1000).running("here", "n2", memory_mib=50)
    book.running("a", "n1", memory_mib=800).running("b", "n1", memory_mib=1900)
    found = survival(book.snapshot(), book.moment())
    assert found.survives
    assert not any(loss.down for loss in losses(book.snapshot(), book.moment()).values())


def test_a_crowd_that_is_too_large_to_be_looked_at_goes_one_after_the_other() -> None:
    def crowd(count: int) -> Book:
        book = two_nodes(10, 10_000).running("here", "n1", memory_mib=1)
        for number in range(count):
            book.vm(f"a{number:03d}", memory_mib=9 if number == 0 else 1)
        return book.vm("large", memory_mib=9_900)

    assert settle(with_limits(crowd(3), starts_per_node=256))["large"] == "n2"
    found = settle(with_limits(crowd(VMS_AT_MOST), starts_per_node=256))
    assert found["large"] is None
