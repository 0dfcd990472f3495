"""Room for several vms at once, one move after the other: numbers in, the way out.

moving_aside.py looks for room for one vm after the other, and what it did for the first it does not undo for the next.
Here all that are to start are looked at together: from how the vms that run stand now, each single migration for which
there is room at that moment leads to another standing, and of those that can be reached so the one is looked for in
which most of the others find room; of several the one with the fewest moves, as far as that is known. So a vm may be
moved out of the way for a while only and moved on later, and one that could start at once may be left to two others.

Best first (A*): the moves so far, and how many more it takes at least by what is lacking. It is to be asked of few vms:
bounded by counting, never by a clock. Deterministic. The same question is answered once: a cluster in which a vm waits
for good is asked it with every plan.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import heappop, heappush
from math import inf

from vmha.policy.state.reservation import Size

MOVES_AT_MOST = 8
LOOKED_AT_MOST = 150_000
"""So often a vm is held against a node for one answer: some tenths of a second."""
TWICE = 2
"""So often one vm is moved on the way: aside, and on."""

Free = tuple[float, float]
Standing = tuple[int, ...]
"""Of each mover its node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mover:
    """A vm that runs on ``home`` and may move to ``targets``. ``apart``: never beside these, a bit for each.

    Movers have the first bits, those that wait the next. ``times``: so often it may move.
    """

    need: Size
    home: int
    targets: tuple[int, ...]
    apart: int = 0
    times: int = TWICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A vm that is to start on one of ``targets``, the best first. ``level``: greater is more important.

    ``is_reserved``: its room is taken off what is left already; it has it once no less than nothing is left.
    """

    level: int
    need: Size
    targets: tuple[int, ...]
    apart: int = 0
    is_reserved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Puzzle:
    """``left``: of the nodes beside the movers. ``waiting``: the more important first.

    What is known already: ``placed`` of each level, in that order, by so many ``moves``. The last level is the one of
    which more are to be placed; of the others no fewer.
    """

    left: tuple[Free, ...]
    movers: tuple[Mover, ...]
    waiting: tuple[Waiting, ...]
    placed: tuple[int, ...]
    moves: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """``moves``: in order, each a mover and where to. ``nodes``: of those that wait; None: it finds none."""

    moves: tuple[tuple[int, int], ...]
    nodes: tuple[int | None, ...]


@lru_cache(maxsize=16)
def find_way(puzzle: Puzzle, looks: int = LOOKED_AT_MOST) -> Way | None:
    """None: no better one than is known, as far as was looked."""
    return _Search(puzzle, looks).way()


@dataclass(slots=True)
class _Search:
    puzzle: Puzzle
    looks: int
    memory: list[float] = field(default_factory=list)
    vcpus: list[float] = field(default_factory=list)
    on: list[int] = field(default_factory=list)
    came: dict[Standing, tuple[int, Standing | None]] = field(default_factory=dict)
    """By how many moves, and from which standing."""

    def way(self) -> Way | None:
        puzzle = self.puzzle
        most, placed, fewest = self._most_by_room(), puzzle.placed[-1], puzzle.moves
        begin = tuple(mover.home for mover in puzzle.movers)
        self.came[begin] = (0, None)
        queue: list[tuple[float, int, int, Standing]] = [(0.0, 0, 0, begin)]
        found: Way | None = None
        size = self._mean_need()
        while queue and self.looks > 0 and (placed < most or (found is None and fewest > 1)):
            _, moves, _, standing = heappop(queue)
            if moves > self.came[standing][0]:
                continue  # it was reached by fewer
            self._stand(standing)
            while (goal := placed if moves < fewest else placed + 1) <= most:
                nodes = self._packed(goal)
                if nodes is None or (way := self._way_to(standing, nodes)) is None:
                    break
                found, placed, fewest = way, goal, moves
            if moves == MOVES_AT_MOST or (placed == most and moves + 1 >= fewest):
                continue
            for number, node in self._moves(standing):
                after = (*standing[:number], node, *standing[number + 1 :])
                known = self.came.get(after)
                if known is None or known[0] > moves + 1:
                    self.came[after] = (moves + 1, standing)
                    lacking = self._lacking(number, standing[number], node, size)
                    heappush(queue, (moves + 1 + lacking, moves + 1, len(self.came), after))
        return found

    def _stand(self, standing: Standing) -> None:
        self.memory, self.vcpus = ([left[measure] for left in self.puzzle.left] for measure in (0, 1))
        self.on = [0] * len(self.puzzle.left)
        for number, (mover, node) in enumerate(zip(self.puzzle.movers, standing, strict=True)):
            self._put(mover.need, node, 1 << number)

    def _put(self, need: Size, node: int, bit: int) -> None:
        self.memory[node] -= need.memory_mib
        self.vcpus[node] -= need.vcpus
        self.on[node] |= bit

    def _take(self, need: Size, node: int, bit: int) -> None:
        self.memory[node] += need.memory_mib
        self.vcpus[node] += need.vcpus
        self.on[node] &= ~bit

    def _fits(self, vm: Mover | Waiting, node: int) -> bool:
        need = vm.need
        if isinstance(vm, Waiting) and vm.is_reserved and min(self.memory[node], self.vcpus[node]) < 0:
            return False
        return (
            need.memory_mib <= max(0, self.memory[node])
            and need.vcpus <= max(0, self.vcpus[node])
            and not vm.apart & self.on[node]
        )

    def _moves(self, standing: Standing) -> Iterator[tuple[int, int]]:
        """Those for which there is room now, on both ends; of vms that are alike, of one."""
        done = self._moved(standing)
        tried: set[object] = set()
        for number, mover in enumerate(self.puzzle.movers):
            at, left = standing[number], mover.times - done.count(number)
            kind = (at, left, mover.need, mover.home, mover.targets, mover.apart)
            if left <= 0 or kind in tried:
                continue
            tried.add(kind)
            self.looks -= 1 + len(mover.targets)
            for node in (*mover.targets, mover.home):
                if node != at and self._fits(mover, node):
                    yield number, node

    def _moved(self, standing: Standing) -> list[int]:
        return [number for number, _ in self._path(standing)]

    def _path(self, standing: Standing) -> list[tuple[int, int]]:
        path: list[tuple[int, int]] = []
        while (before := self.came[standing][1]) is not None:
            number = next(n for n, (one, other) in enumerate(zip(standing, before, strict=True)) if one != other)
            path.append((number, standing[number]))
            standing = before
        return path[::-1]

    def _way_to(self, standing: Standing, nodes: tuple[int | None, ...]) -> Way | None:
        path = self._path(standing)
        moved = [number for number, _ in path]
        if any(moved.count(number) > self.puzzle.movers[number].times for number in moved):
            return None  # a shorter way was found to where it went through
        return Way(moves=tuple(path), nodes=nodes)

    # --- how far it is

    def _mean_need(self) -> Free:
        """What one move relieves a node of, more or less."""
        needs = [mover.need for mover in self.puzzle.movers]
        count = len(needs) or 1
        return (
            sum(need.memory_mib for need in needs) / count or 1.0,
            sum(need.vcpus for need in needs) / count or 1.0,
        )

    def _lacking(self, number: int, source: int, target: int, size: Free) -> float:
        """How many moves it takes at least after this one, more or less: each that waits lacks something where it lacks
        least, after those before it.
        """
        mover = self.puzzle.movers[number]
        self._take(mover.need, source, 1 << number)
        self._put(mover.need, target, 1 << number)
        memory, vcpus = list(self.memory), list(self.vcpus)
        self._take(mover.need, target, 1 << number)
        self._put(mover.need, source, 1 << number)
        total = 0.0
        for vm in self.puzzle.waiting:
            self.looks -= len(vm.targets)
            least, at = inf, -1
            for node in vm.targets:
                lacks = max(0.0, vm.need.memory_mib - memory[node]) / size[0]
                lacks += max(0.0, vm.need.vcpus - vcpus[node]) / size[1]
                if lacks < least:
                    least, at = lacks, node
            if at >= 0:
                total += least
                memory[at] -= vm.need.memory_mib
                vcpus[at] -= vm.need.vcpus
        return total

    # --- those that wait

    def _levels(self) -> list[int]:
        return sorted({vm.level for vm in self.puzzle.waiting}, reverse=True)

    def _most_by_room(self) -> int:
        """So many of the last level, at most: moving about leaves the sum as it is. What a node has too little of for
        whom it is reserved, others need not find.
        """
        levels = self._levels()
        self._stand(tuple(mover.home for mover in self.puzzle.movers))
        short = [sum(max(0.0, -left) for left in measure) for measure in (self.memory, self.vcpus)]
        most = sum(vm.level == levels[-1] for vm in self.puzzle.waiting)
        for measure in (0, 1):
            left = short[measure] + sum(free[measure] for free in self.puzzle.left)
            left -= sum(_of(mover.need, measure) for mover in self.puzzle.movers)
            for level, placed in zip(levels, self.puzzle.placed, strict=True):
                needs = sorted(_of(vm.need, measure) for vm in self.puzzle.waiting if vm.level == level)
                if level != levels[-1]:
                    left -= sum(needs[:placed])
                    continue
                while most and sum(needs[:most]) > left:
                    most -= 1
        return most

    def _packed(self, goal: int) -> tuple[int | None, ...] | None:
        """So many of the last level, and of each other one as many as are known to find room."""
        levels = self._levels()
        goals = (*self.puzzle.placed[:-1], goal)
        at = [levels.index(vm.level) for vm in self.puzzle.waiting]
        spare = [at.count(index) - least for index, least in enumerate(goals)]
        nodes: list[int | None] = []
        return tuple(nodes) if self._pack(at, spare, nodes) else None

    def _pack(self, levels: Sequence[int], spare: list[int], nodes: list[int | None]) -> bool:
        """What it has put is taken again, whatever comes of it."""
        if len(nodes) == len(levels):
            return True
        if self.looks <= 0:
            return False
        index = len(nodes)
        vm, level = self.puzzle.waiting[index], levels[index]
        bit = 1 << (len(self.puzzle.movers) + index)
        self.looks -= len(vm.targets)
        for node in vm.targets:
            if self._fits(vm, node):
                self._put(vm.need, node, bit)
                nodes.append(node)
                is_found = self._pack(levels, spare, nodes)
                self._take(vm.need, node, bit)
                if is_found:
                    return True
                nodes.pop()
        if spare[level] > 0:
            spare[level] -= 1
            nodes.append(None)
            if self._pack(levels, spare, nodes):
                return True
            nodes.pop()
            spare[level] += 1
        return False


def _of(need: Size, measure: int) -> float:
    return float(need.vcpus if measure else need.memory_mib)
