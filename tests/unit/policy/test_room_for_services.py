"""Room for the vms of a service: for all of them at once, where they go together, or for one where the others are."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clusters import Book, cluster
from tests.support.room import lead_step_by_step, let_it_arrive, moves, settle
from vmha.model.ids import NodeName
from vmha.model.records import Phase, RunEnd
from vmha.model.vm import Desired
from vmha.operator.why import why
from vmha.policy.placing.room_asked import RULE, WAITS
from vmha.policy.state.supposing import NodeLost, suppose
from vmha.policy.telling.drain_check import cannot_leave
from vmha.policy.telling.forecast import foresee
from vmha.policy.telling.survival import survival


def full(*nodes: str) -> Book:
    """Nodes of 1000 MiB; ``a`` takes 600 of n1 and ``b`` 300 of n2."""
    book = cluster(*(nodes or ("n1", "n2")), memory_mib=1000).service("shop", "db", "app")
    return book.running("a", "n1", memory_mib=600).running("b", "n2", memory_mib=300)


def shop(book: Book, **fields: Any) -> Book:
    """It needs 900 in all."""
    return book.vm("db", memory_mib=500, **fields).vm("app", memory_mib=400, **fields)


def rules(book: Book) -> dict[str, str]:
    views = book.snapshot().vms
    return {name: view.placement.value.reason.rule for name, view in views.items() if view.placement}


# --- while none of it has a place


def test_others_move_for_all_of_it_and_all_of_it_says_so() -> None:
    book = shop(full())
    book.lead()
    assert (book.claim("b").target, book.claim("b").reason.rule) == ("n1", RULE)
    assert book.claim("b").reason.text == "moved to n1 to make room for db on n2"
    assert (rules(book)["db"], rules(book)["app"]) == (WAITS, WAITS)
    for vm, ends in (("db", "b has left n2 (by itself)"), ("app", "what it needs is ready (vmha vm why db)")):
        told = why(book.snapshot(), vm, wall=book.clock.wall())
        assert told.waiting == "room is made for it on n2: b moves to n1"
        assert told.ends_when == (ends,)
    let_it_arrive(book, "b")
    book.lead()
    assert (book.claim("db").phase, book.claim("db").node) == (Phase.ASSIGNED, "n2")
    assert book.claim("db").reason.text.endswith("; b made room for it")
    assert settle(book) == {"a": "n1", "b": "n1", "db": "n2", "app": "n2"}


def test_nobody_moves_for_a_part_of_it_nor_where_there_is_no_room_for_all() -> None:
    """Each would find room by itself, and ``b`` could make room for either."""
    book = full().vm("db", memory_mib=500).vm("app", memory_mib=501)
    assert moves(book) == {}
    assert settle(book) == {"a": "n1", "b": "n2", "db": None, "app": None}
    told = why(book.snapshot(), "db", wall=book.clock.wall())
    assert "n2 has room for all vms of its service: vms leave it, or its capacity is raised" in told.ends_when


def test_nobody_moves_where_it_finds_room() -> None:
    assert moves(full().vm("db", memory_mib=300).vm("app", memory_mib=400)) == {}


def test_what_is_not_to_run_needs_no_room() -> None:
    book = full().vm("db", memory_mib=500).vm("app", memory_mib=501, desired=Desired.STOPPED)
    assert moves(book) == {}
    assert settle(book)["db"] == "n2"


def test_the_room_that_is_made_is_for_nobody_else() -> None:
    book = shop(full())
    book.lead()
    book.vm("late", memory_mib=300)
    assert settle(book) == {"a": "n1", "b": "n1", "db": "n2", "app": "n2", "late": None}


def test_a_rule_of_any_of_its_vms_holds() -> None:
    """``b`` would not be in the way by what it takes; app is never beside it, and may go to n2 alone."""
    book = cluster("n1", "n2", memory_mib=1000).service("shop", "db", "app").running("b", "n2", memory_mib=10)
    book.rule("apart", apart=("app", "b"), hard=True).domain("two", "n2", restricted=True)
    book.service("shop", "db", "app", failover_domain="two")
    assert settle(shop(book)) == {"b": "n1", "db": "n2", "app": "n2"}


def test_nobody_is_sent_to_where_one_of_it_is_to_be_that_it_is_kept_apart_from() -> None:
    """``b`` could make room by going to n1 or n3; db, which is second, is not to be beside it."""
    book = cluster("n1", "n2", "n3", memory_mib=1000).running("x", "n3", memory_mib=900)
    book.running("a", "n1", memory_mib=300).running("b", "n2", memory_mib=400).service("shop", "app", "db")
    book.rule("apart", apart=("b", "db"), hard=True)
    assert settle(shop(book)) == {"a": "n2", "b": "n2", "x": "n3", "app": "n1", "db": "n1"}


def test_its_most_important_vm_speaks_for_it() -> None:
    book = full().vm("a", memory_mib=600, priority=150).vm("b", memory_mib=300, priority=150).vm("db", memory_mib=500)
    assert moves(book.vm("app", memory_mib=400)) == {}
    assert moves(book.vm("app", memory_mib=400, priority=150)) == {"b": "n1"}
    assert settle(book) == {"a": "n1", "b": "n1", "db": "n2", "app": "n2"}


def test_two_services_and_one_vm_that_wait_get_room_in_the_order_of_their_importance() -> None:
    book = shop(full("n1", "n2", "n3"), priority=200).running("c", "n3", memory_mib=350)
    book.service("desk", "x", "y").vm("x", memory_mib=300).vm("y", memory_mib=300, priority=300)
    book.vm("solo", memory_mib=700)
    there = settle(book)
    assert (there["x"], there["y"]) == ("n2", "n2")  # beside b
    assert (there["db"], there["app"], there["c"]) == ("n3", "n3", "n1")
    assert there["solo"] is None


@pytest.mark.parametrize("which", [("db",), ("app",), ("db", "app")])
def test_none_that_ends_again_and_again_speaks_for_it(which: tuple[str, ...]) -> None:
    """app comes after db, and waits for its rest."""
    book = shop(full())
    wall = book.clock.wall()
    for vm in which:
        book.ended(vm, "n1", RunEnd.CRASHED, endings=(wall - 2, wall - 1))
    assert moves(book) == ({} if "db" in which else {"b": "n1"})


def test_none_of_a_service_is_moved_for_another() -> None:
    book = shop(full()).service("desk", "b")
    assert moves(book) == {"a": "n2"}
    assert moves(book.service("other", "a")) == {}


def test_loss_of_its_node_is_survived_by_others_that_move() -> None:
    book = full("n1", "n2", "n3").running("db", "n3", memory_mib=500).running("app", "n3", memory_mib=400)
    found = foresee(suppose(book.snapshot(), NodeLost(node=NodeName("n3"))), book.moment())
    assert (found.down, found.ends) == ((), True)
    assert [(move.vm, move.target) for move in found.moves] == [("b", "n1"), ("db", "n2"), ("app", "n2")]
    assert "n3" not in {loss.node for loss in survival(book.snapshot(), book.moment()).losses}


def test_a_new_leader_goes_on_after_any_step() -> None:
    book = shop(full())
    lead_step_by_step(book)
    assert settle(book) == {"a": "n1", "b": "n1", "db": "n2", "app": "n2"}


# --- where it has a place


def test_others_move_for_one_that_is_to_come_to_where_the_others_are() -> None:
    book = cluster("n1", "n2", memory_mib=1000).service("shop", "db", "app").running("db", "n2", memory_mib=500)
    book.running("a", "n1", memory_mib=100).running("b", "n2", memory_mib=300).vm("app", memory_mib=400)
    book.lead()
    assert book.claim("b").target == "n1"
    held = book.placement("app")
    assert held
    assert (held.reason.rule, held.reason.text) == (WAITS, "room is made for it on n2: b moves to n1")
    assert settle(book) == {"a": "n1", "b": "n1", "db": "n2", "app": "n2"}


def test_nobody_moves_for_it_elsewhere_nor_does_the_service() -> None:
    """n1 is all but empty; but db runs on n2, beside one that may not leave it."""
    book = cluster("n1", "n2", memory_mib=1000).service("shop", "db", "app").running("db", "n2", memory_mib=500)
    book.domain("two", "n2", restricted=True).running("b", "n2", memory_mib=300, failover_domain="two")
    assert moves(book.vm("app", memory_mib=400)) == {}
    assert settle(book) == {"b": "n2", "db": "n2", "app": None}


def test_what_is_reserved_for_it_there_is_no_room_for_others_that_wait() -> None:
    book = cluster("n1", "n2", memory_mib=1000).service("shop", "db", "app").running("db", "n2", memory_mib=500)
    book.running("b", "n2", memory_mib=150).domain("two", "n2", restricted=True)
    book.vm("app", memory_mib=300, depends_on=("gone",))  # it is yet to come, and waits for what is not there
    book.vm("solo", memory_mib=190, failover_domain="two")
    assert moves(book) == {"b": "n1"}  # 50 are left, and 300 kept; b leaves 150 more
    book.vm("solo", memory_mib=201, failover_domain="two")
    assert moves(book) == {}


def test_as_few_move_as_it_takes_for_all_that_are_to_come() -> None:
    book = cluster("n1", "n2", memory_mib=1000).service("shop", "db", "app", "web").running("db", "n2", memory_mib=300)
    for number in range(3):
        book.running(f"b{number}", "n2", memory_mib=200)
    book.vm("app", memory_mib=200).vm("web", memory_mib=200)
    assert len(moves(book)) == 2
    there = settle(book)
    assert {there[vm] for vm in ("db", "app", "web")} == {"n2"}
    assert sorted(str(there[f"b{number}"]) for number in range(3)) == ["n1", "n1", "n2"]


# --- a drain


def test_others_move_for_a_service_that_is_to_leave_a_drained_node() -> None:
    book = full("n1", "n2").node("n3", memory_mib=1000, spec={"maintenance": True})
    book.running("db", "n3", memory_mib=500).running("app", "n3", memory_mib=400)
    assert moves(book) == {"b": "n1"}
    assert settle(book) == {"a": "n1", "b": "n1", "db": "n2", "app": "n2"}


def test_drain_of_a_service_is_not_refused_for_want_of_room_that_can_be_made() -> None:
    book = full("n1", "n2", "n3").running("db", "n3", memory_mib=500).running("app", "n3", memory_mib=400)
    assert cannot_leave(book.snapshot(), NodeName("n3"), book.moment()) == []
    book.running("c", "n1", memory_mib=200)
    assert {one.vm for one in cannot_leave(book.snapshot(), NodeName("n3"), book.moment())} == {"db", "app"}


# --- properties

SIZES = st.integers(min_value=1, max_value=9)


@st.composite
def crowded(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int]], list[int]]:
    """Nodes' sizes; vms that run, each with its node and size, as far as they fit; the members' sizes."""
    nodes = draw(st.lists(st.integers(6, 12), min_size=2, max_size=4))
    left, runs = list(nodes), []
    for node, size in draw(st.lists(st.tuples(st.integers(0, len(nodes) - 1), SIZES), max_size=7)):
        if left[node] >= size:
            left[node] -= size
            runs.append((node, size))
    return nodes, runs, draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))


def crowd(nodes: list[int], runs: list[tuple[int, int]]) -> Book:
    book = Book().configure()
    for number, size in enumerate(nodes):
        book.node(f"n{number}", memory_mib=size * 100)
    book.elect("n0")
    for number, (node, size) in enumerate(runs):
        book.running(f"vm{number}", f"n{node}", memory_mib=size * 100)
    return book


@given(crowded())
@settings(max_examples=150, deadline=None)
def test_a_service_finds_room_where_one_vm_of_its_size_does_and_by_as_many_moves(
    drawn: tuple[list[int], list[tuple[int, int]], list[int]],
) -> None:
    nodes, runs, sizes = drawn
    members = [f"m{number}" for number in range(len(sizes))]
    several, one = crowd(nodes, runs).service("shop", *members), crowd(nodes, runs)
    for member, size in zip(members, sizes, strict=True):
        several.vm(member, memory_mib=size * 100)
    one.vm("m0", memory_mib=sum(sizes) * 100)
    before = {f"vm{number}": f"n{node}" for number, (node, _) in enumerate(runs)}
    there, alone = settle(several, rounds=30), settle(one, rounds=30)
    places = {there[member] for member in members}
    assert len(places) == 1, "together, or none of it"
    assert (places != {None}) == (alone["m0"] is not None)
    moved, of_one = (sum(found[vm] != node for vm, node in before.items()) for found in (there, alone))
    assert moved == of_one
    for number, size in enumerate(nodes):
        taken = [
            runs[int(vm[2:])][1] if vm in before else sizes[int(vm[1:])] for vm in there if there[vm] == f"n{number}"
        ]
        assert sum(taken) <= size


@given(crowded())
@settings(max_examples=150, deadline=None)
def test_what_is_to_come_to_a_place_finds_room_where_one_vm_that_may_go_nowhere_else_does_by_one_move(
    drawn: tuple[list[int], list[tuple[int, int]], list[int]],
) -> None:
    """The first one runs already, where nothing can move it; so it is for one vm of the others' size beside it. Room
    that takes several moves in turn is looked for only for services that have no place yet.
    """
    nodes, runs, sizes = drawn
    taken = sum(size for node, size in runs if node == 0)
    nodes = [nodes[0] + max(0, taken + sizes[0] - nodes[0]), *nodes[1:]]
    several, one = crowd(nodes, runs), crowd(nodes, runs).domain("zero", "n0", restricted=True)
    members = [f"m{number}" for number in range(len(sizes))]
    several.service("shop", *members)
    for number, size in enumerate(sizes[1:], start=1):
        several.vm(f"m{number}", memory_mib=size * 100)
    for book in (several, one):
        book.running("m0", "n0", memory_mib=sizes[0] * 100, migration={"style": "pause"})
    if len(sizes) > 1:
        one.vm("m1", memory_mib=sum(sizes[1:]) * 100, failover_domain="zero")
    there, alone = settle(several, rounds=30), settle(one, rounds=30)
    assert {there[member] for member in members} <= {"n0", None}
    moves = sum(alone[f"vm{number}"] != f"n{node}" for number, (node, _) in enumerate(runs))
    if alone.get("m1") and moves <= 1:
        assert {there[member] for member in members} == {"n0"}


WAITING = st.lists(
    st.tuples(st.integers(100, 102), st.lists(st.integers(1, 5), min_size=1, max_size=3)), min_size=1, max_size=4
)
"""Services by their priority and their vms' sizes; one of a single vm is none."""


@given(crowded(), WAITING, st.booleans())
@settings(max_examples=150, deadline=None)
def test_services_and_single_vms_come_to_rest_together_and_within_what_the_nodes_have(
    drawn: tuple[list[int], list[tuple[int, int]], list[int]], waiting: list[tuple[int, list[int]]], leaderless: bool
) -> None:
    nodes, runs, _ = drawn
    book = crowd(nodes, runs)
    size_of = {f"vm{number}": size for number, (_, size) in enumerate(runs)}
    members: dict[str, list[str]] = {}
    for number, (priority, sizes) in enumerate(waiting):
        members[f"s{number}"] = [f"s{number}m{one}" for one in range(len(sizes))]
        for name, size in zip(members[f"s{number}"], sizes, strict=True):
            size_of[name] = size
            book.vm(name, memory_mib=size * 100, priority=priority)
        if len(sizes) > 1:
            book.service(f"s{number}", *members[f"s{number}"])
    if leaderless:
        lead_step_by_step(book, steps=8)
    there = settle(book, rounds=60)
    for names in members.values():
        assert len({there.get(name) for name in names}) == 1
    for number, size in enumerate(nodes):
        assert sum(size_of[vm] for vm, at in there.items() if at == f"n{number}") <= size
    assert all(there[f"vm{number}"] is not None for number in range(len(runs)))
    assert moves(book) == {}


@pytest.mark.parametrize("priority", [50, 150])
def test_one_that_could_start_is_not_in_its_way_unless_it_is_more_important(priority: int) -> None:
    book = shop(full(), priority=100).vm("solo", memory_mib=350, priority=priority)
    there = settle(book)
    assert (there["db"], there["solo"]) == (("n2", None) if priority == 50 else (None, "n1"))


def test_what_is_to_come_to_where_others_are_is_arranged_with_all_that_wait() -> None:
    """``db`` finds room on n2 once ``b`` is on n1 and ``a`` on n2, where neither fits beside the other; n3 takes ``a``
    for a while, and ``web`` for good.
    """
    book = cluster("n1", memory_mib=1000).node("n2", memory_mib=1100).node("n3", memory_mib=600)
    book.domain("low", "n1", "n2", restricted=True).domain("three", "n3", restricted=True)
    book.running("a", "n1", memory_mib=600).running("b", "n2", memory_mib=700, failover_domain="low")
    book.running("x", "n2", memory_mib=100).vm("db", memory_mib=400).service("shop", "x", "db")
    book.vm("web", memory_mib=600, failover_domain="three")
    assert settle(book) == {"a": "n2", "b": "n1", "db": "n2", "web": "n3", "x": "n2"}
