"""Finding room for as many vms as can be, on nodes that have little: numbers in, a node for each vm out.

Vms come in levels, the most important first: of a level as many are placed as can be, and only then is the next one
looked at. What a level was given may be moved about for the next, never taken away, for nothing of it runs yet.

* Each vm is inserted where it fits tightest, in three orders; one that fits nowhere moves another one aside, and that
  one perhaps a third.
* Where a bound says that more might fit, a search decides whether it does: the vm with the fewest nodes left first,
  each of its nodes, then without it. It gives up after ``SEARCHED_AT_MOST``, and what was found before stands.

Deterministic, and bounded by counting, never by a clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from vmha.policy.state.reservation import Size

SEARCHED_AT_MOST = 100_000
"""So often a vm is held against a node in the search for one answer: some tenths of a second."""
ASIDE = 2
"""So many vms are moved aside one for another, at most."""
MOVED_ASIDE_AT_MOST = 50_000
"""Likewise, for all that are moved aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """``level``: greater is more important. ``nodes``: by number, those it may go to; ``apart``: vms by number."""

    level: int
    need: Size
    nodes: tuple[int, ...]
    apart: frozenset[int] = frozenset()


def pack(items: Sequence[Item], free: Sequence[tuple[float, float]], first: Mapping[int, int]) -> dict[int, int]:
    """A node for each vm that finds one.

    Args:
        items: the vms.
        free: memory and vcpus that are left on each node; infinite: not limited.
        first: where they would go one after the other. It stands as far as nothing places more.
    """
    packing = _Packing(items, free)
    placed: dict[int, int] = {}
    for level in sorted({item.level for item in items}, reverse=True):
        group = [number for number, item in enumerate(items) if item.level == level]
        is_first = all(first.get(number) == node for number, node in placed.items())
        as_first = {number: first[number] for number in group if number in first}
        found = [placed | as_first] if is_first else []
        best = packing.inserted(placed, group, found)
        placed = packing.searched(best, [*_at_or_above(items, level)], group)
    return placed


def _at_or_above(items: Sequence[Item], level: int) -> list[int]:
    return [number for number, item in enumerate(items) if item.level >= level]


@dataclass(slots=True)
class _Packing:
    items: Sequence[Item]
    free: Sequence[tuple[float, float]]
    memory: list[float] = field(default_factory=list)
    vcpus: list[float] = field(default_factory=list)
    on: list[set[int]] = field(default_factory=list)
    aside_left: int = MOVED_ASIDE_AT_MOST
    looks_left: int = SEARCHED_AT_MOST
    failed: set[object] = field(default_factory=set)
    open_to: list[set[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open_to = [set() for _ in self.free]
        for number, item in enumerate(self.items):
            for node in item.nodes:
                self.open_to[node].add(number)

    # --- the nodes as they fill

    def _begin(self, placed: Mapping[int, int]) -> None:
        self.memory = [memory for memory, _ in self.free]
        self.vcpus = [vcpus for _, vcpus in self.free]
        self.on = [set() for _ in self.free]
        for number, node in placed.items():
            self._put(number, node)

    def _put(self, number: int, node: int) -> None:
        need = self.items[number].need
        self.memory[node] -= need.memory_mib
        self.vcpus[node] -= need.vcpus
        self.on[node].add(number)

    def _take(self, number: int, node: int) -> None:
        need = self.items[number].need
        self.memory[node] += need.memory_mib
        self.vcpus[node] += need.vcpus
        self.on[node].discard(number)

    def _fits(self, number: int, node: int) -> bool:
        item = self.items[number]
        need = item.need
        return (
            need.memory_mib <= max(0, self.memory[node])
            and need.vcpus <= max(0, self.vcpus[node])
            and not (item.apart and item.apart & self.on[node])
        )

    def _tightest(self, number: int, nodes: Sequence[int]) -> list[int]:
        return sorted(nodes, key=lambda node: (self._left(number, node), node))

    def _left(self, number: int, node: int) -> float:
        """The share of the scarcer measure that the vm would leave."""
        need, (memory, vcpus) = self.items[number].need, self.free[node]
        shares = [
            (left - needed) / most
            for left, needed, most in (
                (self.memory[node], need.memory_mib, memory),
                (self.vcpus[node], need.vcpus, vcpus),
            )
            if 0 < most < inf
        ]
        return min(shares, default=inf)

    # --- one after the other, with moving aside

    def inserted(self, placed: dict[int, int], group: list[int], found: list[dict[int, int]]) -> dict[int, int]:
        """The best of ``found`` and of some orders; of equally good ones what came first."""
        best = max(found, key=len, default=None)
        for order in (sorted(group, key=lambda n: -self._share(n)), sorted(group, key=self._share), group):
            if best is not None and len(best) == len(placed) + len(group):
                break
            self._begin(placed)
            there = dict(placed)
            for number in order:
                self._insert(number, there, ASIDE, frozenset())
            if best is None or len(there) > len(best):
                best = there
        assert best is not None
        return best

    def _share(self, number: int) -> float:
        """The larger of what it takes of all memory and of all vcpus."""
        need = self.items[number].need
        memory, vcpus = sum(max(0, one[0]) for one in self.free), sum(max(0, one[1]) for one in self.free)
        return max(need.memory_mib / memory if memory else 0.0, need.vcpus / vcpus if vcpus else 0.0)

    def _insert(self, number: int, there: dict[int, int], aside: int, locked: frozenset[int]) -> bool:
        nodes = self._tightest(number, self.items[number].nodes)
        for node in nodes:
            if self._fits(number, node):
                self._put(number, node)
                there[number] = node
                return True
        if not aside:
            return False
        for node in nodes:
            for other in sorted(self.on[node] - locked):
                if self.aside_left <= 0:
                    return False
                self.aside_left -= 1 + len(self.items[other].nodes)
                if self._instead(number, other, node, there, aside, locked):
                    return True
        return False

    def _instead(
        self, number: int, other: int, node: int, there: dict[int, int], aside: int, locked: frozenset[int]
    ) -> bool:
        self._take(other, node)
        if self._fits(number, node):
            self._put(number, node)
            if self._insert(other, there, aside - 1, locked | {number}):
                there[number] = node
                return True
            self._take(number, node)
        self._put(other, node)
        return False

    # --- the search

    def searched(self, best: dict[int, int], known: list[int], group: list[int]) -> dict[int, int]:
        """More of ``group``, if more can be; of the levels above it as many as there are."""
        able = [number for number in group if self._could_ever(number)]
        while any(number not in best for number in able):
            outs: dict[int, int] = {}
            for number in known:
                outs[self.items[number].level] = outs.get(self.items[number].level, 0) + (number not in best)
            level = self.items[group[0]].level
            outs[level] -= 1
            self._begin({})
            self.failed = set()
            there: dict[int, int] = {}
            if not self._search(known, outs, there):
                return best
            best = there
        return best

    def _could_ever(self, number: int) -> bool:
        self._begin({})
        return any(self._fits(number, node) for node in self.items[number].nodes)

    def _search(self, still: list[int], outs: dict[int, int], there: dict[int, int]) -> bool:
        """Places all of ``still`` but ``outs`` of each level. What it placed stays so when it succeeds."""
        if self.looks_left <= 0:
            return False
        outs = dict(outs)
        rest: list[int] = []
        next_one: tuple[int, float, int] | None = None
        choices: list[int] = []
        for number in still:
            self.looks_left -= len(self.items[number].nodes)
            nodes = [node for node in self.items[number].nodes if self._fits(number, node)]
            if not nodes:
                outs[self.items[number].level] -= 1
                if outs[self.items[number].level] < 0:
                    return False
                continue
            rest.append(number)
            rank = (len(nodes), -self._share(number), number)
            if next_one is None or rank < next_one:
                next_one, choices = rank, nodes
        if next_one is None:
            return True
        self.looks_left -= len(rest) * len(choices)  # to tell nodes that are alike
        if self._is_too_much(rest, sum(outs.values())):
            return False
        state = (tuple(rest), tuple(self.memory), tuple(self.vcpus), tuple(outs.items()), self._kept_apart())
        if state in self.failed:
            return False
        number = next_one[-1]
        without = [other for other in rest if other != number]
        seen: set[object] = set()
        for node in self._tightest(number, choices):
            alike = self._kind_of(node, rest)
            if alike in seen:
                continue
            seen.add(alike)
            self._put(number, node)
            there[number] = node
            if self._search(without, outs, there):
                return True
            del there[number]
            self._take(number, node)
        level = self.items[number].level
        if outs[level] > 0 and self._search(without, {**outs, level: outs[level] - 1}, there):
            return True
        self.failed.add(state)
        return False

    def _is_too_much(self, rest: list[int], outs: int) -> bool:
        """Even without the largest ones it is more than what all nodes have left together."""
        for left, needs in (
            (self.memory, [self.items[number].need.memory_mib for number in rest]),
            (self.vcpus, [self.items[number].need.vcpus for number in rest]),
        ):
            needs.sort()
            if sum(needs[: len(needs) - outs] if outs else needs) > sum(max(0, one) for one in left):
                return True
        return False

    def _kept_apart(self) -> tuple[frozenset[int], ...]:
        return tuple(frozenset(number for number in here if self.items[number].apart) for here in self.on)

    def _kind_of(self, node: int, rest: list[int]) -> object:
        """Nodes that are as good as each other for all that are still to come."""
        open_to = tuple(number for number in rest if number in self.open_to[node])
        barred = tuple(number for number in rest if self.items[number].apart & self.on[node])
        return (self.memory[node], self.vcpus[node], open_to, barred)
