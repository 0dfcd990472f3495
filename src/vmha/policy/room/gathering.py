"""Room for one vm gathered from far and wide, in a cluster of many nodes and vms: numbers in, few moves out.

moving_aside.py looks at all that can be done, on some nodes; where each of five hundred has a gap of one GiB, they do
not have what a vm of sixteen needs. Here every node's gap counts, in an order, so that one of a size is found by
bisection:

* A node is relieved: of those that are there some leave it, each into the tightest gap that takes it as it is; where no
  gap does, another node is relieved for that one, and so on. Each move joins two gaps; of the largest ones together no
  more than so many moves can gather, which tells early what is in vain.
* First with as few moves as it could be by that, then with one more. With so many, first what sends nobody to a node
  that it likes less.
* A node has one part in this only: it is relieved for one vm, which comes there, or others come into its gap as it is.
  So the moves can be done in whatever order their room comes free, as a tree from its leaves.

Not all that could be is looked at: of nodes and vms that serve as well only the first few are tried. Deterministic, and
bounded by counting, never by a clock.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import inf

from vmha.policy.room.moving_aside import Free, Piece, Target
from vmha.policy.state.reservation import Size

MOVES_AT_MOST = 20
"""Of vms that run, for one that finds no room."""
TRIED_FIRST, TRIED_NEXT = 8, 4
"""So many nodes are tried for the one that waits, and for one that is moved."""
LOOKS_EACH = 2000
"""For one of the nodes that are tried first."""
SUMS_AT_MOST = 64
"""So many amounts that several make up together are told apart."""
GAPS_AT_MOST = 32
"""So many gaps, the tightest first, are looked at for one that is moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    piece: Piece
    source: int
    target: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Who leaves a node, the largest first. ``moves``: it takes at least so many, with those that make room in turn."""

    moves: int
    largest: float
    pieces: tuple[Piece, ...]


NOBODY = Leave(moves=0, largest=0.0, pieces=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Nodes by number. ``free``: what is left of each once all that leaves by now has left.

    Asked for only of nodes and vms that come into question: ``on``, those that run there and may be moved;
    ``is_worse``, whether such a one would like it less there (None: it may not go there); ``company``, those that some
    are to be apart from; ``kind``, what is alike beside its size.
    """

    free: list[Free]
    on: Callable[[int], Sequence[Piece]]
    is_worse: Callable[[Piece, int], bool | None]
    company: Callable[[int], Collection[str]]
    kind: Callable[[Piece], object]


@dataclass(slots=True)
class Gathering:
    """One search after another: what was found for one vm stands for the next, and so does what it ``closed``."""

    cluster: Cluster
    closed: set[int] = field(default_factory=set)
    looks: int = 0
    _in_vain: int = 0
    _free: list[Free] = field(init=False)
    _order: list[tuple[float, int]] = field(default_factory=list)  # of the nodes that are open: their gaps
    _most: list[float] = field(default_factory=list)  # by number of moves: what they gather at the most
    _log: list[Move | int] = field(default_factory=list)  # moves, and nodes that were closed
    _moves: int = 0
    _known: dict[tuple[int, Free], Leave | None] = field(default_factory=dict)
    _into: dict[int, list[Piece]] = field(default_factory=dict)  # who comes into its gap
    _gone: set[str] = field(default_factory=set)
    _measure: int = 0
    _level: int = 0
    _may_be_worse: bool = False
    _would_be_worse: bool = False

    def __post_init__(self) -> None:
        self._free = self.cluster.free

    def room_for(self, rival: Piece, targets: Sequence[Target], looks: int) -> tuple[int, list[Move]] | None:
        """Where it goes, and the moves that make room for it, in an order. None: nowhere, as far as was looked."""
        self.looks, self._level, self._measure = looks, rival.level, self._scarcer(rival.need)
        self._log.clear()
        self._known.clear()
        self._put_in_order()
        self._moves = 0
        need = _of(rival.need, self._measure)
        if sum(max(0.0, gap) for gap, _ in self._order) < need:
            return None
        measure = self._measure
        ranked = sorted((liked, -self._free[node][measure], node) for liked, node in targets if node not in self.closed)
        for moves in range(MOVES_AT_MOST + 1):
            for self._may_be_worse in (False, True):
                self._would_be_worse = False
                enough = need - self._most[moves]
                able = ((liked, node) for liked, gap, node in ranked if -gap >= enough and self._may_take(rival, node))
                for node in self._easiest(islice(able, GAPS_AT_MOST), rival.need, moves, TRIED_FIRST):
                    self._in_vain = max(0, self.looks - LOOKS_EACH)
                    if self._relieved(node, rival.need, moves):
                        _add(self._free, node, rival.need, -1)
                        return node, [one for one in self._log if isinstance(one, Move)]
                    if self.looks <= 0:
                        return None
                if not self._would_be_worse:
                    break
        return None

    def _scarcer(self, need: Size) -> int:
        shares = []
        for measure in (0, 1):
            free, needed = sum(max(0.0, left[measure]) for left in self._free), _of(need, measure)
            shares.append(free / needed if needed else inf)
        return 1 if shares[1] < shares[0] else 0

    def _put_in_order(self) -> None:
        measure = self._measure
        self._order = sorted((left[measure], node) for node, left in enumerate(self._free) if node not in self.closed)
        self._most = [0.0]
        for gap, _ in islice(reversed(self._order), MOVES_AT_MOST + 1):
            self._most.append(self._most[-1] + max(0.0, gap))
        self._most += [self._most[-1]] * (MOVES_AT_MOST + 2 - len(self._most))

    def _may_take(self, rival: Piece, node: int) -> bool:
        self.looks -= 1
        return self._may_be_relieved(node) and self._is_let_in(rival, node)

    # --- one node

    def _may_be_relieved(self, node: int) -> bool:
        return node not in self.closed and not self._into.get(node)

    def _relieved(self, node: int, need: Size, moves: int) -> bool:
        """It has room for ``need``, and takes part in nothing else. What was done for it is undone if it has not."""
        mark = len(self._log)
        self._close(node)
        if self._relieve(node, need, moves):
            return True
        self._undo(mark)
        return False

    def _relieve(self, node: int, need: Size, moves: int) -> bool:
        barred: set[object] = set()
        for _ in range(TRIED_NEXT):
            memory, vcpus = self._free[node]
            lacks = (need.memory_mib - memory, need.vcpus - vcpus)
            if max(lacks) <= 0:
                return True
            if not moves or lacks[self._measure] > self._most[moves] or self.looks <= self._in_vain:
                return False
            leave = self._who_is_to_leave(node, lacks, barred)
            if leave is None or leave.moves > moves:
                return False
            mark, before = len(self._log), self._moves
            stays = self._settle_all(leave.pieces, node, moves)
            if stays is None and self._relieve(node, need, moves - self._moves + before):
                return True
            self._undo(mark)
            if stays is None:
                return False
            barred.add(self._kind_of(stays))
        return False

    def _known_to_leave(self, node: int, need: Size) -> Leave | None:
        """Of one that is open: nobody has left it yet."""
        memory, vcpus = self._free[node]
        lacks = (need.memory_mib - memory, need.vcpus - vcpus)
        if max(lacks) <= 0:
            return NOBODY
        if (node, lacks) not in self._known:
            self._known[node, lacks] = self._who_is_to_leave(node, lacks, ())
        return self._known[node, lacks]

    def _who_is_to_leave(self, node: int, lacks: Free, barred: Collection[object]) -> Leave | None:
        """Those that make up for what is lacking by the fewest moves, as far as can be told; of these the least, and of
        those the smaller ones.
        """
        measure = self._measure if lacks[self._measure] > 0 else 1 - self._measure
        lacking = lacks[measure]
        found: tuple[int, float, float, tuple[Piece, ...]] | None = None
        sums: dict[float, tuple[int, float, tuple[Piece, ...]]] = {0.0: (0, 0.0, ())}
        for piece in self._who_may_leave(node, barred):
            size, fewest = _of(piece.need, measure), max(1, self._fewest(_of(piece.need, self._measure)))
            if not size or fewest > MOVES_AT_MOST:
                continue
            self.looks -= 1 + len(sums) // 4
            for total, (count, _, pieces) in list(sums.items()):
                after, counted = total + size, count + fewest
                if counted > MOVES_AT_MOST:
                    continue
                if after >= lacking:
                    if found is None or (counted, after, size) < found[:3]:
                        found = (counted, after, size, (*pieces, piece))
                elif len(sums) < SUMS_AT_MOST and (after not in sums or (counted, size) < sums[after][:2]):
                    sums[after] = (counted, size, (*pieces, piece))
        return Leave(moves=found[0], largest=found[2], pieces=found[3][::-1]) if found else None

    def _who_may_leave(self, node: int, barred: Collection[object]) -> list[Piece]:
        """The smaller first."""
        able = [
            piece
            for piece in self.cluster.on(node)
            if piece.level <= self._level and piece.name not in self._gone and self._kind_of(piece) not in barred
        ]
        return sorted(able, key=lambda piece: (_of(piece.need, self._measure), piece.name))

    def _kind_of(self, piece: Piece) -> object:
        return (piece.need, piece.apart, self.cluster.kind(piece))

    def _settle_all(self, pieces: Sequence[Piece], source: int, moves: int) -> Piece | None:
        """None: all are; else the first that is not."""
        still, until = [self._fewest(_of(piece.need, self._measure)) for piece in pieces], self._moves + moves
        for number, piece in enumerate(pieces):
            if not self._settle(piece, source, until - self._moves - sum(still[number + 1 :])):
                return piece
        return None

    def _fewest(self, lacking: float) -> int:
        """So many moves it takes at least to gather this."""
        return bisect_left(self._most, lacking) if lacking > 0 else 0

    # --- one that leaves

    def _settle(self, piece: Piece, source: int, moves: int) -> bool:
        if moves <= 0:
            return False
        if (gap := self._tightest(piece)) is not None:
            self._move(piece, source, gap)
            self._into.setdefault(gap, []).append(piece)
            return True
        need = _of(piece.need, self._measure)
        for more in range(max(1, self._fewest(need) - 1), moves):
            for node in self._easiest(self._roomiest(piece, need, more), piece.need, more, TRIED_NEXT):
                if self._relieved(node, piece.need, more):
                    self._move(piece, source, node)
                    return True
            if self.looks <= self._in_vain:
                return False
        return False

    def _tightest(self, piece: Piece) -> int | None:
        """The gap that it would fill best."""
        first = bisect_left(self._order, (_of(piece.need, self._measure), -1))
        for _, node in self._order[first : first + GAPS_AT_MOST]:
            self.looks -= 1
            memory, vcpus = self._free[node]
            if piece.need.memory_mib <= memory and piece.need.vcpus <= vcpus and self._may_go(piece, node):
                return node
        return None

    def _roomiest(self, piece: Piece, need: float, moves: int) -> Iterator[Target]:
        for gap, node in self._order[: -GAPS_AT_MOST - 1 : -1]:
            self.looks -= 1
            if gap + self._most[moves] < need:
                return
            if self._may_be_relieved(node) and self._may_go(piece, node):
                yield 0, node

    def _easiest(self, nodes: Iterable[Target], need: Size, moves: int, at_most: int) -> list[int]:
        """As they are liked; then where the fewest have to leave, by what each of them needs in turn."""
        found: list[tuple[int, int, float, float, int]] = []
        for liked, node in nodes:
            if (leave := self._known_to_leave(node, need)) is not None and leave.moves <= moves:
                found.append((liked, leave.moves, leave.largest, -self._free[node][self._measure], node))
        return [node for *_, node in sorted(found)[:at_most]]

    def _may_go(self, piece: Piece, node: int) -> bool:
        is_worse = self.cluster.is_worse(piece, node)
        if is_worse is None or not self._is_let_in(piece, node):
            return False
        self._would_be_worse = self._would_be_worse or is_worse
        return self._may_be_worse or not is_worse

    def _is_let_in(self, piece: Piece, node: int) -> bool:
        if not piece.apart:
            return True
        came = {one.name for one in self._into.get(node, ())}
        return piece.apart.isdisjoint(came) and piece.apart.isdisjoint(self.cluster.company(node))

    # --- what is done, and undone

    def _close(self, node: int) -> None:
        self._log.append(node)
        self.closed.add(node)
        del self._order[bisect_left(self._order, (self._free[node][self._measure], node))]

    def _move(self, piece: Piece, source: int, target: int) -> None:
        self._log.append(Move(piece=piece, source=source, target=target))
        self._moves += 1
        self._gone.add(piece.name)
        _add(self._free, source, piece.need, 1)
        self._shift(target, piece.need, -1)

    def _shift(self, node: int, need: Size, sign: int) -> None:
        """Where others come into its gap, its place in the order changes."""
        if node in self.closed:
            _add(self._free, node, need, sign)
            return
        del self._order[bisect_left(self._order, (self._free[node][self._measure], node))]
        _add(self._free, node, need, sign)
        insort(self._order, (self._free[node][self._measure], node))

    def _undo(self, mark: int) -> None:
        while len(self._log) > mark:
            done = self._log.pop()
            if not isinstance(done, Move):
                self.closed.discard(done)
                insort(self._order, (self._free[done][self._measure], done))
                continue
            self._moves -= 1
            self._gone.discard(done.piece.name)
            _add(self._free, done.source, done.piece.need, -1)
            self._shift(done.target, done.piece.need, 1)
            if done.target not in self.closed:
                self._into[done.target].pop()


def _of(need: Size, measure: int) -> float:
    return float(need.vcpus if measure else need.memory_mib)


def _add(free: list[Free], node: int, need: Size, sign: int) -> None:
    memory, vcpus = free[node]
    free[node] = (memory + sign * need.memory_mib, vcpus + sign * need.vcpus)
