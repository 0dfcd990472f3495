"""As many vms as can be find room: against all ways there are to place a few of them."""

from collections.abc import Mapping, Sequence
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from vmha.policy.room.packing import Item, pack
from vmha.policy.state.reservation import Size

Free = Sequence[tuple[float, float]]


def is_legal(items: Sequence[Item], free: Free, placed: Mapping[int, int]) -> bool:
    for node, (memory, vcpus) in enumerate(free):
        here = [number for number, at in placed.items() if at == node]
        needs = [items[number].need for number in here]
        if sum(need.memory_mib for need in needs) > memory or sum(need.vcpus for need in needs) > vcpus:
            return False
        if any(node not in items[number].nodes or items[number].apart & set(here) for number in here):
            return False
    return True


def by_level(items: Sequence[Item], placed: Mapping[int, int]) -> list[int]:
    levels = sorted({item.level for item in items}, reverse=True)
    return [sum(items[number].level == level for number in placed) for level in levels]


def best(items: Sequence[Item], free: Free) -> list[int]:
    ways = product(*[(None, *item.nodes) for item in items])
    placed = [{number: node for number, node in enumerate(way) if node is not None} for way in ways]
    return max(by_level(items, one) for one in placed if is_legal(items, free, one))


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Item], list[tuple[float, float]]]:
    nodes = draw(st.integers(1, 3))
    free = [(float(draw(st.integers(0, 12))), float(draw(st.integers(1, 6)))) for _ in range(nodes)]
    count = draw(st.integers(1, 5))
    pair = frozenset(draw(st.sets(st.integers(0, count - 1), min_size=2, max_size=3))) if count > 2 else frozenset()
    items = [
        Item(
            level=draw(st.sampled_from([100, 100, 200])),
            need=Size(draw(st.integers(0, 8)), draw(st.integers(0, 3))),
            nodes=tuple(sorted(draw(st.sets(st.integers(0, nodes - 1), min_size=1)))),
            apart=pair - {number} if number in pair else frozenset(),
        )
        for number in range(count)
    ]
    return items, free


@given(crowd=crowds())
@settings(max_examples=150, deadline=None)
def test_no_way_places_more_of_the_important_ones_or_more_of_the_others_beside_as_many(
    crowd: tuple[list[Item], list[tuple[float, float]]],
) -> None:
    items, free = crowd
    placed = pack(items, free, {})
    assert is_legal(items, free, placed)
    assert by_level(items, placed) == best(items, free)


def test_what_was_found_first_stands_where_nothing_places_more() -> None:
    items = [Item(level=1, need=Size(4), nodes=(0, 1)), Item(level=1, need=Size(4), nodes=(0, 1))]
    assert pack(items, [(9.0, 0.0), (9.0, 0.0)], {0: 1, 1: 0}) == {0: 1, 1: 0}


def test_a_search_without_end_is_given_up_and_what_was_found_before_stands() -> None:
    """Of 60 odd vms on 12 nodes there are more ways than anybody can try."""
    items = [Item(level=1, need=Size(997 + 61 * n % 641, n % 3), nodes=tuple(range(12))) for n in range(60)]
    free = [(5003.0 + 7 * node, 9.0) for node in range(12)]
    placed = pack(items, free, {})
    assert is_legal(items, free, placed)
    assert len(placed) >= 40
