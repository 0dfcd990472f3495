"""Room for one vm by moving others aside: numbers in, the fewest moves out.

A vm that finds no room is put on a node all the same, and of those that are there some leave it, each for another node,
where others may have to leave in turn. Looked for is first what takes no move of a vm that runs, then what takes one,
then two; with so many, first what sends nobody to a node that it likes less. What was put somewhere stays there, so a
search comes to an end, and all that the bounds allow is looked at.

What can not be done one move after the other is not done: each move finds its room while all that are still to move are
where they were. So no two vms trade places where neither fits beside the other. One that could start now starts now, on
the same node or another; with as many moves it waits for its room as well where it is no more important than the one
that would never find any.

Deterministic, and bounded by counting, never by a clock.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vmha.policy.state.reservation import Size

MOVES_AT_MOST = 6
"""Of vms that run, for one that finds no room."""
ASIDE_AT_MOST = 4
"""Of vms that are yet to start and go elsewhere instead: likewise."""

WAYS = ((False, False), (False, True), (True, False), (True, True))
"""Whether one that could start now may have to wait, and whether one may be sent where it likes less."""

Free = tuple[float, float]
"""Memory and vcpus that are left; infinite: not limited."""
Target = tuple[int, int]
"""A node by its number, after how it is liked: the less the better, and of one that runs 0 as well as where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """``runs``: to move it is a migration; else it is yet to start. ``apart``: never on one node with these.

    ``others``: that come with it, if it stands for several (room/for_services.py); its need is that of all.
    ``is_reserved``: its room is taken off what its only node has left already, so it needs nothing more.
    ``level``: greater is more important; none that runs leaves for a less important one.
    """

    name: str
    level: int
    need: Size
    runs: bool = False
    apart: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    is_reserved: bool = False


@dataclass(slots=True, kw_only=True)
class Nodes:
    """By number. ``free``: what is left once all that leaves by now has left; ``now``: until then.

    ``on``: vms that may be moved, or are yet to start, and where. ``fixed``: others that some are to be apart from.
    """

    free: list[Free]
    now: list[Free]
    on: list[dict[str, Piece]]
    fixed: list[set[str]]


@dataclass(slots=True, kw_only=True)
class Aside:
    """One search after another on the same nodes: what was found for one vm stands for the next.

    ``may_go``: the nodes that could take a vm if they had room.
    ``may_begin``: whether a move from or to a node could begin now; nobody waits for one that could not.
    """

    nodes: Nodes
    may_go: Callable[[Piece], Sequence[Target]]
    may_begin: Callable[[int], bool] = lambda _: True
    looks: int = 0
    home: dict[str, int] = field(init=False)
    moved: dict[str, tuple[Piece, int]] = field(default_factory=dict)  # of those that run, for all so far
    _waiting: list[tuple[Piece, int]] = field(default_factory=list)  # those it was done for
    _put: dict[str, tuple[Piece, int]] = field(default_factory=dict)  # by the present search
    delayed: list[str] = field(default_factory=list)  # of these, those that could have started now
    starts_now: bool = False  # the one it was looked for, or must wait for others
    _may_delay: bool = False
    _is_leaving: bool = False
    _seen: set[object] = field(default_factory=set)
    _kinds: dict[str, int] = field(default_factory=dict)
    _kind_by: dict[object, int] = field(default_factory=dict)
    _has_apart: bool = False
    _rival: str = ""
    _level: int = 0

    def __post_init__(self) -> None:
        self.home = {name: node for node, here in enumerate(self.nodes.on) for name in here}
        self._is_leaving = self.nodes.free != self.nodes.now

    def room_for(self, rival: Piece, looks: int) -> dict[str, int] | None:
        """Where it goes, and all that make room for it. None: nowhere, as far as was looked: ``looks`` at a node."""
        self._rival, self._level, self.looks = rival.name, rival.level, looks
        self._has_apart = bool(rival.apart) or any(p.apart for here in self.nodes.on for p in here.values())
        memory, vcpus = sum(left[0] for left in self.nodes.free), sum(left[1] for left in self.nodes.free)
        if memory < rival.need.memory_mib or vcpus < rival.need.vcpus:
            return None  # moving about leaves the sum as it is
        for moves in range((MOVES_AT_MOST if self._can_begin() else 0) + 1):
            asides = ASIDE_AT_MOST if moves or self._is_leaving else 0  # else all were packed already
            for self._may_delay, may_be_worse in WAYS if moves else WAYS[::2]:
                self._seen.clear()
                if self._settle([rival], moves, asides, may_be_worse):
                    return self._taken_down(rival)
                if self.looks <= 0:
                    return None
        return None

    def _can_begin(self) -> bool:
        """One move after the other: the first of them finds its room as it is now, where others start elsewhere."""
        pieces = [piece for here in self.nodes.on for piece in here.values()]
        needs = {piece.need for piece in pieces if piece.runs and self._may_leave(piece)}
        room = list(self.nodes.free)
        for piece in pieces:
            if not piece.runs:
                _add(room, self.home[piece.name], piece.need, 1)
        return any(need.memory_mib <= memory and need.vcpus <= vcpus for need in needs for memory, vcpus in room)

    def _taken_down(self, rival: Piece) -> dict[str, int]:
        found = {name: node for name, (_, node) in self._put.items()}
        self.starts_now = False
        for name, (piece, node) in self._put.items():
            if piece.runs or name == rival.name or name in self.delayed:
                del self.nodes.on[node][name]  # it is not moved once more for the next one
                self.nodes.fixed[node] |= {name, *piece.others}
            else:
                self._shift(self.nodes.now, piece, self.home[name], node)
                self.home[name] = node
            if piece.runs:
                self.moved[name] = (piece, node)
                self.nodes.fixed[self.home[name]].add(name)  # until it has left
                _add(self.nodes.now, node, piece.need, -1)
            if name in self.delayed:
                _add(self.nodes.now, self.home[name], piece.need, 1)
        node = found[rival.name]
        memory, vcpus = self.nodes.now[node]
        if not self.delayed and not any(piece.runs for piece, _ in self._put.values()):
            self.starts_now = memory >= rival.need.memory_mib and vcpus >= rival.need.vcpus
        if self.starts_now:
            _add(self.nodes.now, node, rival.need, -1)
        else:
            self._waiting.append(self._put[rival.name])
        self._waiting += [self._put[name] for name in self.delayed]
        self._put.clear()
        return found

    # --- the search

    def _settle(self, still: list[Piece], moves: int, asides: int, may_be_worse: bool) -> bool:
        """Whoever has no node finds one, and no node has too much. What was put stays so when it succeeds."""
        if self.looks <= 0:
            return False
        for _, node in self._put.values():
            if self._has_too_much(node):
                return self._relieve(node, still, moves, asides, may_be_worse)
        if not still:
            return self._can_be_done()
        state = (
            (moves, asides),
            tuple(piece.name for piece in still),
            tuple(sorted((name, node) for name, (_, node) in self._put.items())),
        )
        if state in self._seen:
            return False
        self._seen.add(state)
        *rest, piece = still
        for node in self._targets(piece, may_be_worse):
            self._set(piece, node)
            self._put[piece.name] = (piece, node)
            if self._is_within(node, moves, asides) and self._settle(rest, moves, asides, may_be_worse):
                return True
            del self._put[piece.name]
            self._unset(piece, node)
        return False

    def _targets(self, piece: Piece, may_be_worse: bool) -> list[int]:
        home = self.home.get(piece.name)
        able = [one for one in self.may_go(piece) if one[1] != home and (may_be_worse or not piece.runs or not one[0])]
        self.looks -= 1 + len(able)
        if piece.name != self._rival:
            able = [(0, node) for _, node in able]  # as far as it may be liked less at all, room decides
        return [node for *_, node in sorted((liked, *self._left(piece, node)) for liked, node in able)]

    def _left(self, piece: Piece, node: int) -> tuple[bool, float, int]:
        """Where it fits comes first, the tightest first; then where the least has to leave."""
        memory, vcpus = self.nodes.free[node]
        left = min(memory - piece.need.memory_mib, (vcpus - piece.need.vcpus) * 1024)
        return (left < 0, abs(left), node)

    def _has_too_much(self, node: int) -> bool:
        memory, vcpus = self.nodes.free[node]
        return memory < 0 or vcpus < 0 or (self._has_apart and bool(self._to_be_apart(node)))

    def _relieve(self, node: int, still: list[Piece], moves: int, asides: int, may_be_worse: bool) -> bool:
        tried: set[int] = set()
        for piece in self._who_may_relieve(node):
            if (moves if piece.runs else asides) <= 0:
                continue
            if (kind := self._kind_of(piece)) in tried:
                continue
            tried.add(kind)
            self.looks -= 1
            self._unset(piece, node)
            left = (moves - 1, asides) if piece.runs else (moves, asides - 1)
            if self._settle([*still, piece], *left, may_be_worse):
                return True
            self._set(piece, node)
        return False

    def _kind_of(self, piece: Piece) -> int:
        """One of several that are alike is as good as another."""
        if piece.name not in self._kinds:
            alike = (piece.need, piece.runs, piece.apart, tuple(self.may_go(piece)))
            self._kinds[piece.name] = self._kind_by.setdefault(alike, len(self._kind_by))
        return self._kinds[piece.name]

    def _who_may_relieve(self, node: int) -> list[Piece]:
        here = self.nodes.on[node]
        mates = self._to_be_apart(node) if self._has_apart else set()
        if mates:
            return [here[name] for name in sorted(mates) if name in here and self._may_leave(here[name])]
        memory, vcpus = (-min(0.0, left) for left in self.nodes.free[node])
        leavers = [piece for piece in here.values() if self._may_leave(piece)]

        def rank(piece: Piece) -> tuple[bool, bool, int, str]:
            suffices = piece.need.memory_mib >= memory and piece.need.vcpus >= vcpus
            return (piece.runs, not suffices, piece.need.memory_mib * (1 if suffices else -1), piece.name)

        return sorted(leavers, key=rank)

    def _may_leave(self, piece: Piece) -> bool:
        return piece.name not in self._put and not (piece.runs and piece.level > self._level)

    def _to_be_apart(self, node: int) -> set[str]:
        here, fixed = self.nodes.on[node], self.nodes.fixed[node]
        return {
            other
            for name, (piece, where) in self._put.items()
            if where == node and piece.apart
            for other in piece.apart
            if other in here or other in fixed
        }

    def _is_within(self, node: int, moves: int, asides: int) -> bool:
        """Could enough leave it at all?"""
        here = self.nodes.on[node]
        apart = self._to_be_apart(node) if self._has_apart else ()
        if any(other not in here or not self._may_leave(here[other]) for other in apart):
            return False
        memory, vcpus = self.nodes.free[node]
        if memory >= 0 and vcpus >= 0:
            return True
        memory, vcpus = max(0.0, -memory), max(0.0, -vcpus)
        leavers = [piece for piece in here.values() if self._may_leave(piece)]
        for lacking, needs in (
            (memory, [(piece.runs, piece.need.memory_mib) for piece in leavers]),
            (vcpus, [(piece.runs, piece.need.vcpus) for piece in leavers]),
        ):
            running = sorted((need for runs, need in needs if runs), reverse=True)[:moves]
            others = sorted((need for runs, need in needs if not runs), reverse=True)[:asides]
            if sum(running) + sum(others) < lacking:
                return False
        return True

    # --- whether it can be done, one after the other

    def _can_be_done(self) -> bool:
        """Those that are yet to start find room as it is now, or may wait; the moves as others have left."""
        now = list(self.nodes.now)
        mine = [one for one in self._put.values() if one[0].runs]
        moves = [*self.moved.values(), *mine]
        starts = [(piece, node) for piece, node in self._put.values() if not piece.runs and piece.name != self._rival]
        self.delayed = []
        for piece, _ in starts:
            _add(now, self.home[piece.name], piece.need, 1)
        for piece, node in starts:
            _add(now, node, piece.need, -1)
            is_barred = any(other.name in piece.apart and self.home[other.name] == node for other, _ in moves)
            if is_barred or min(now[node]) < 0:
                _add(now, node, piece.need, 1)
                self.delayed.append(piece.name)
                if not self._may_delay or piece.level > self._level:
                    return False
        if self.delayed and not all(self.may_begin(at) for piece, node in mine for at in (node, self.home[piece.name])):
            return False
        return _in_some_order(moves, self._before(moves), self.home)

    def _before(self, moves: Iterable[tuple[Piece, int]]) -> list[Free]:
        """What is left of the nodes before these moves; those that wait for their room have not started."""
        free = list(self.nodes.free)
        for piece, node in moves:
            self._shift(free, piece, node, self.home[piece.name])
        for late, node in (*self._waiting, *(self._put[name] for name in (self._rival, *self.delayed))):
            _add(free, node, late.need, 1)
        return free

    # --- the nodes

    def _set(self, piece: Piece, node: int) -> None:
        _add(self.nodes.free, node, piece.need, -1)
        self.nodes.on[node][piece.name] = piece

    def _unset(self, piece: Piece, node: int) -> None:
        _add(self.nodes.free, node, piece.need, 1)
        del self.nodes.on[node][piece.name]

    def _shift(self, free: list[Free], piece: Piece, source: int, target: int) -> None:
        _add(free, source, piece.need, 1)
        _add(free, target, piece.need, -1)


def _add(free: list[Free], node: int, need: Size, sign: int) -> None:
    memory, vcpus = free[node]
    free[node] = (memory + sign * need.memory_mib, vcpus + sign * need.vcpus)


def _in_some_order(moves: Sequence[tuple[Piece, int]], free: list[Free], home: Mapping[str, int]) -> bool:
    at = {piece.name: home[piece.name] for piece, _ in moves}
    still = list(moves)
    while still:
        for number, (piece, node) in enumerate(still):
            memory, vcpus = free[node]
            is_barred = any(at.get(other) == node for other in piece.apart)
            if piece.need.memory_mib <= memory and piece.need.vcpus <= vcpus and not is_barred:
                _add(free, at[piece.name], piece.need, 1)
                _add(free, node, piece.need, -1)
                at[piece.name] = node
                del still[number]
                break
        else:
            return False
    return True
