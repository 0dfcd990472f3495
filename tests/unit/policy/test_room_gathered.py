"""Room gathered from the gaps of many nodes: what is found can be done, in whatever order its room comes free."""

from collections import Counter
from dataclasses import dataclass
from random import Random  # noqa: TID251 (not a decision: what is decided upon)

import pytest

from tests.support.clusters import Book, cluster
from tests.support.room import moves, settle
from vmha.policy.placing.room_asked import RULE
from vmha.policy.room.gathering import MOVES_AT_MOST, Cluster, Gathering, Move
from vmha.policy.room.moving_aside import Aside, Free, Nodes, Piece, Target
from vmha.policy.room.wide import close
from vmha.policy.state.reservation import Size

ENOUGH = 20_000
EVERYWHERE = range(12)


def gib(memory: int, vcpus: int = 1) -> Size:
    return Size(memory, vcpus)


@dataclass
class World:
    """Nodes with what is free of them, vms that run there, and what keeps them from other nodes."""

    free: list[Free]
    on: list[list[Piece]]
    may_go: dict[str, dict[int, bool]]

    def cluster(self) -> Cluster:
        names = [{piece.name for piece in here} for here in self.on]
        return Cluster(
            free=list(self.free),
            on=lambda node: self.on[node],
            is_worse=lambda piece, node: self.may_go[piece.name].get(node),
            company=lambda node: names[node],
            kind=lambda piece: tuple(sorted(self.may_go[piece.name].items())),
        )


def world(*nodes: tuple[int, list[int]]) -> World:
    """Of each node its gap, and the sizes of those that run there; each may go anywhere."""
    on = [
        [Piece(name=f"vm-{at}-{number}", level=100, need=gib(size), runs=True) for number, size in enumerate(sizes)]
        for at, (_, sizes) in enumerate(nodes)
    ]
    may_go = {piece.name: dict.fromkeys(range(len(nodes)), False) for here in on for piece in here}
    return World([(gap, 100) for gap, _ in nodes], on, may_go)


def anywhere(found: World) -> list[Target]:
    return [(0, node) for node in range(len(found.free))]


def drawn(seed: int) -> tuple[World, list[tuple[Piece, list[Target]]]]:
    random = Random(seed)
    free: list[Free] = [(random.randint(0, 3), random.randint(0, 4)) for _ in EVERYWHERE]
    on: list[list[Piece]] = [[] for _ in EVERYWHERE]
    names = [f"vm-{number}" for number in range(60)]
    for name in names:
        apart = frozenset(random.sample(names, 2)) - {name} if random.random() < 0.2 else frozenset[str]()
        size = gib(random.choice((1, 2, 3, 4, 6)), random.choice((0, 1, 2)))
        on[random.choice(EVERYWHERE)].append(
            Piece(name=name, level=random.choice((100, 100, 100, 200)), need=size, runs=True, apart=apart)
        )
    may_go = {
        name: {node: random.random() < 0.2 for node in random.sample(EVERYWHERE, random.choice((4, 12)))}
        for name in names
    }
    rivals = []
    for number in range(4):
        size = gib(random.randint(3, 9), random.randint(0, 3))
        apart = frozenset(random.sample(names, 2)) if random.random() < 0.3 else frozenset[str]()
        targets = [(random.choice((0, 0, 1)), node) for node in random.sample(EVERYWHERE, random.choice((4, 12)))]
        rivals.append((Piece(name=f"new-{number}", level=100, need=size, apart=apart), targets))
    return World(free, on, may_go), rivals


class Ledger:
    """Who is where, kept by itself: nothing of the search's own count."""

    def __init__(self, begun: World) -> None:
        self.free = list(begun.free)
        self.at = {piece.name: node for node, here in enumerate(begun.on) for piece in here}
        self.begun = begun

    def fits(self, piece: Piece, node: int) -> bool:
        memory, vcpus = self.free[node]
        is_apart = all(self.at.get(other) != node for other in piece.apart)
        need = piece.need
        # Nodes that have too little of something already take whoever needs none of it.
        return need.memory_mib <= max(0, memory) and need.vcpus <= max(0, vcpus) and is_apart

    def put(self, piece: Piece, node: int) -> None:
        memory, vcpus = self.free[node]
        self.free[node] = (memory - piece.need.memory_mib, vcpus - piece.need.vcpus)
        if (source := self.at.get(piece.name)) is not None:
            memory, vcpus = self.free[source]
            self.free[source] = (memory + piece.need.memory_mib, vcpus + piece.need.vcpus)
        self.at[piece.name] = node


@pytest.mark.parametrize("seed", range(150))
def test_what_is_found_can_be_done_by_every_rule_and_in_whatever_order(seed: int) -> None:
    begun, rivals = drawn(seed)
    search, plain, shuffled = Gathering(begun.cluster()), Ledger(begun), Ledger(begun)
    still: list[tuple[Piece, int]] = []
    for rival, targets in rivals:
        found = search.room_for(rival, targets, ENOUGH)
        if found is None:
            continue
        node, way = found
        assert node in {target for _, target in targets}
        assert len(way) <= MOVES_AT_MOST
        for move in way:
            assert plain.at[move.piece.name] == move.source
            assert plain.fits(move.piece, move.target)
            assert move.target in begun.may_go[move.piece.name]
            assert move.piece.level <= rival.level
            plain.put(move.piece, move.target)
        assert plain.fits(rival, node)
        plain.put(rival, node)
        still += [*((move.piece, move.target) for move in way), (rival, node)]
    assert max(Counter(piece.name for piece, _ in still).values(), default=1) == 1  # nobody moves twice
    random = Random(seed)
    while still:
        able = [one for one in still if shuffled.fits(*one)]
        assert able, "those that are left wait for each other"
        still.remove(one := random.choice(able))
        shuffled.put(*one)


def test_most_find_room() -> None:
    """The test above is no empty word."""
    moved = []
    for seed in range(150):
        begun, rivals = drawn(seed)
        search = Gathering(begun.cluster())
        moved += [len(found[1]) for one in rivals if (found := search.room_for(*one, ENOUGH)) is not None]
    assert len(moved) > 200
    assert sum(count > 2 for count in moved) > 20


def found_by(begun: World, need: int, *, level: int = 100) -> list[Move] | None:
    rival = Piece(name="new", level=level, need=gib(need))
    found = Gathering(begun.cluster()).room_for(rival, anywhere(begun), ENOUGH)
    return found[1] if found else None


def test_each_move_joins_two_gaps_and_there_are_no_more_moves_than_that_takes() -> None:
    way = found_by(world((1, [4, 4, 4]), (1, [1, 2, 9]), (1, [1, 1]), (1, [1, 7])), 4)
    assert way
    assert len(way) == 3


def test_one_that_fits_where_others_have_left_makes_room_in_turn() -> None:
    way = found_by(world((2, [6]), (2, [4]), (2, [2]), (2, [9])), 8)
    assert way
    assert [move.piece.need.memory_mib for move in way] == [2, 4, 6]


def test_who_is_to_be_apart_from_one_that_stands_or_comes_where_room_was_gathered_does_not_start_there() -> None:
    """The other search knows a node's vms by those that may move, and none of them may any more."""
    stays = Piece(name="stays", level=100, need=gib(2), runs=True)
    nodes = Nodes(free=[(6, 9), (6, 9)], now=[(5, 9), (6, 9)], on=[{"stays": stays}, {}], fixed=[set(), set()])
    close(nodes, 0, (4, 8), {"comes"})
    assert (nodes.free, nodes.now) == ([(4, 8), (6, 9)], [(4, 8), (6, 9)])
    for other in ("stays", "comes"):
        one = Piece(name="new", level=100, need=gib(1), apart=frozenset({other}))
        found = Aside(nodes=nodes, may_go=lambda _: [(0, 0), (1, 1)]).room_for(one, ENOUGH)
        assert found == {"new": 1}, f"it is to be apart from {other}"


def test_nothing_is_sought_where_all_gaps_together_are_too_small() -> None:
    begun = world((1, [1, 1]), (1, [1, 1]))
    search = Gathering(begun.cluster())
    assert search.room_for(Piece(name="new", level=100, need=gib(3)), anywhere(begun), ENOUGH) is None
    assert search.looks == ENOUGH


def test_nobody_more_important_moves() -> None:
    begun = world((1, [1]), (1, [1]))
    assert found_by(begun, 2)
    assert found_by(begun, 2, level=50) is None


def test_with_as_many_moves_nobody_is_sent_where_it_likes_less() -> None:
    begun = world((1, [1]), (0, [5]), (1, [5]), (1, [5]))
    begun.may_go["vm-0-0"] |= {2: True, 3: True}
    begun.may_go["vm-0-0"].pop(1)
    assert found_by(begun, 2)
    begun.may_go["vm-0-0"][2] = False
    way = found_by(begun, 2)
    assert way
    assert [move.target for move in way] == [2]


def test_a_search_that_is_used_up_finds_nothing_and_leaves_everything_as_it_was() -> None:
    begun = world(*((1, [1, 1, 2]) for _ in range(20)))
    search = Gathering(begun.cluster())
    rival = Piece(name="new", level=100, need=gib(5))
    assert search.room_for(rival, anywhere(begun), 12) is None
    assert (search.cluster.free, search.closed) == (begun.free, set())
    assert search.room_for(rival, anywhere(begun), ENOUGH) is not None


def many(nodes: int = 40) -> Book:
    """Each has a gap of 100 MiB."""
    names = [f"n{number:02}" for number in range(nodes)]
    book = cluster(*names, memory_mib=1000)
    for name in names:
        for number, memory_mib in enumerate((100, 100, 200, 200, 300)):
            book.running(f"vm-{number}-{name}", name, memory_mib=memory_mib)
    return book


def test_in_a_large_cluster_the_gaps_of_many_nodes_make_room_for_one() -> None:
    book = many().vm("db", memory_mib=900)
    there = settle(book)
    assert there["db"]
    assert all(there.values())
    on = Counter(there.values())
    assert on.total() == 201
    moved = [name for name, node in there.items() if node and not name.endswith(node) and name != "db"]
    assert len(moved) == 8  # nine gaps of a hundred


def test_those_that_move_say_for_whom() -> None:
    book = many().vm("db", memory_mib=500)
    begun = moves(book)
    book.lead()
    assert begun
    assert {book.claim(name).reason.rule for name in begun} == {RULE}
    assert all("to make room for db on" in book.claim(name).reason.text for name in begun)
