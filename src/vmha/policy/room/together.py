"""Room for all that wait at once, where it was not found for one after the other (room/move_by_move.py).

* It stands where it places more of the most important ones that were left out, or as many by fewer moves; never at the
  cost of a more important one.
* Moves begin in their order, each when there is room for it. One that is moved out of the way for a while says so, and
  moves on, once.
* Whoever can start without being in the way of the moves starts now. One that could have started may wait, or be left
  to others, only for no less important ones, and only where the first move can begin.
* First without sending anybody where it likes less; else it may be, where that places more.

Asked of few vms: ``ASKED_AT_MOST`` that wait, ``MOVERS_AT_MOST`` that may move.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from vmha.model.ids import NodeName, VmName
from vmha.policy.placing.room_asked import Asked, Made, Making
from vmha.policy.room.move_by_move import Free, Mover, Puzzle, Waiting, Way, find_way
from vmha.policy.room.moving_aside import Nodes, Piece
from vmha.policy.room.numbers import Numbers
from vmha.policy.state.reservation import Size

ASKED_AT_MOST = 12
MOVERS_AT_MOST = 48


def may_be_looked_at_together(vms: int) -> bool:
    """Then one plan says nothing of what later ones find, when vms that it starts may move as well."""
    return vms <= MOVERS_AT_MOST + ASKED_AT_MOST


def find_together(numbers: Numbers, rivals: Sequence[Asked], late: Iterable[Asked], known: Making) -> Making | None:
    """None: nothing better than what is ``known``, or too many to ask for.

    Args:
        rivals: those that wait and that others may be moved for.
        late: all that find no node now.
    """
    if sum(numbers.may_leave) > MOVERS_AT_MOST + ASKED_AT_MOST:
        return None
    nodes = numbers.of(list(rivals))
    starting = {piece.name: piece for here in nodes.on for piece in here.values() if not piece.runs}
    at = {piece.name: node for node, here in enumerate(nodes.on) for piece in here.values()}
    pieces = [*(numbers.piece(one.spec, runs=False) for one in rivals), *starting.values()]
    starts = starting.keys() if known.meant is None else {name for name, node in known.meant.items() if node}
    placed = {piece.name for piece in pieces if piece.name in known.rivals or piece.name in starts}
    out = [piece.level for piece in pieces if piece.name not in placed]
    levels = {piece.level for piece in pieces}
    if not (out or (len(levels) == 1 and len(known.moves) > 1)):
        return None
    level = max(out, default=max(levels))
    asked = sorted(
        (piece for piece in pieces if piece.level >= level),
        key=lambda piece: (-piece.level, -piece.need.memory_mib, -piece.need.vcpus, piece.name),
    )
    movers = [piece for here in nodes.on for piece in here.values() if piece.runs and piece.level <= level]
    if len(asked) > ASKED_AT_MOST or len(movers) > MOVERS_AT_MOST:
        return None
    together = _Together(numbers, nodes, movers, asked, at, starting.keys())
    tally = tuple(
        sum(piece.name in placed for piece in asked if piece.level == one)
        for one in sorted({piece.level for piece in asked}, reverse=True)
    )
    counts = {piece.name for piece in asked}
    way = together.find(tally, sum(rival in counts for _, rival in known.moves.values()))
    if way is None:
        return None
    to: dict[VmName, NodeName | None] = {**numbers.there, **{VmName(one.spec.name): None for one in late}}
    return together.as_made(way, pieces, to)


class _Together:
    def __init__(
        self,
        numbers: Numbers,
        nodes: Nodes,
        movers: Sequence[Piece],
        asked: Sequence[Piece],
        at: Mapping[str, int],
        starting: Collection[str],
    ) -> None:
        """``at``: where each runs, or would start. ``starting``: those that would find a node as it is."""
        self.numbers, self.nodes, self.movers, self.asked = numbers, nodes, movers, asked
        self.at, self.starting = at, starting
        self.bit = {piece.name: 1 << number for number, piece in enumerate((*movers, *asked))}
        may_move = {piece.name for piece in movers}
        self.fixed = [
            fixed | {piece.name for piece in here.values() if piece.runs and piece.name not in may_move}
            for fixed, here in zip(nodes.fixed, nodes.on, strict=True)
        ]
        self.free, self.now = self._without_starts(nodes.free), self._without_starts(nodes.now)
        is_asked = {piece.name for piece in asked}
        self.others = [
            piece for here in nodes.on for piece in here.values() if not piece.runs and piece.name not in is_asked
        ]

    def _without_starts(self, free: Sequence[Free]) -> list[Free]:
        found = list(free)
        for here, node in ((piece, self.at[piece.name]) for piece in self._starts()):
            _add(found, node, here.need)
        return found

    def _starts(self) -> list[Piece]:
        return [piece for here in self.nodes.on for piece in here.values() if not piece.runs]

    def find(self, placed: tuple[int, ...], moves: int) -> Way | None:
        left = list(self.free)
        for piece in self.movers:
            _add(left, self.at[piece.name], piece.need)
        found: Way | None = None
        for may_be_worse in (False, True):
            movers = tuple(self._mover(piece, may_be_worse=may_be_worse) for piece in self.movers)
            if may_be_worse and movers == tuple(self._mover(piece, may_be_worse=False) for piece in self.movers):
                break
            waiting = tuple(self._waiting(piece) for piece in self.asked)
            puzzle = Puzzle(left=tuple(left), movers=movers, waiting=waiting, placed=placed, moves=moves)
            if (way := find_way(puzzle)) is not None:
                found = way
                last = [node for node, piece in zip(way.nodes, self.asked, strict=True) if piece.level == self.level]
                placed = (*placed[:-1], sum(node is not None for node in last))
                moves = len(way.moves)
        return found

    @property
    def level(self) -> int:
        return self.asked[-1].level

    def _mover(self, piece: Piece, *, may_be_worse: bool) -> Mover:
        targets = [node for worse, node in sorted(self.numbers.may_go(piece)) if may_be_worse or not worse]
        return Mover(
            need=piece.need,
            home=self.at[piece.name],
            targets=tuple(node for node in targets if not piece.apart & self.fixed[node]),
            apart=self._bits(piece.apart),
            times=self.numbers.times_left(piece.name),
        )

    def _waiting(self, piece: Piece) -> Waiting:
        first = self.at.get(piece.name)
        able = sorted(self.numbers.may_go(piece), key=lambda target: (target[1] != first, target))
        return Waiting(
            level=piece.level,
            need=piece.need,
            targets=tuple(node for _, node in able if not piece.apart & self.fixed[node]),
            apart=self._bits(piece.apart),
            is_reserved=piece.is_reserved,
        )

    def _bits(self, names: Iterable[str]) -> int:
        return sum(self.bit.get(name, 0) for name in names)

    # --- what comes of it

    def as_made(self, way: Way, pieces: Sequence[Piece], to: dict[VmName, NodeName | None]) -> Making | None:
        numbers, node_of = self.numbers, self.numbers.nodes
        where = {piece.name: node for piece, node in zip(self.asked, way.nodes, strict=True)}
        where |= dict.fromkeys((piece.name for piece in pieces if piece.level < self.level), None)
        where |= self._less_important(way, where)
        now: list[str] = []
        for piece in sorted(pieces, key=lambda piece: (-piece.level, piece.name)):
            node = where[piece.name]
            if node is None or numbers.is_left_by_others(numbers.asked[VmName(piece.name)].spec, node_of[node]):
                continue
            if self._can_start(way, where, [*now, piece.name]):
                now.append(piece.name)
        held_up = [piece for piece in pieces if piece.name in self.starting and piece.name not in now]
        if any(piece.level > self.level for piece in held_up):
            return None
        if held_up and way.moves and not all(map(numbers.may_begin, (self._source(way, 0), way.moves[0][1]))):
            return None
        waits = [piece for piece in pieces if where[piece.name] is not None and piece.name not in now]
        for piece in pieces:
            node = where[piece.name]
            to[VmName(piece.name)] = node_of[node] if node is not None and piece.name in now else None
        if not waits:
            return Making(meant=to, retry_in_s=numbers.retry_in_s)
        moves: dict[VmName, tuple[NodeName, VmName]] = {}
        for number, (mover, target) in enumerate(way.moves):
            name = VmName(self.movers[mover].name)
            if name in moves:
                break  # it moves on later, and so do those after it
            source = self._source(way, number)
            able = [piece for piece in waits if piece.level >= self.level] or waits
            is_for = next((piece for piece in able if where[piece.name] == source), able[0])
            moves[name] = (node_of[target], VmName(is_for.name))
        made: dict[VmName, Made] = {}
        for piece in waits:
            name, node = VmName(piece.name), where[piece.name]
            assert node is not None
            mine = {other: target for other, (target, rival) in moves.items() if rival == name}
            mine = mine or {other: target for other, (target, _) in moves.items()}
            made[name] = Made(node=node_of[node], moves={**mine}, leaving=numbers.leaving_for(node_of[node], mine))
        several = [mover for mover, _ in way.moves]
        return Making(
            rivals=made,
            moves=moves,
            meant=to,
            retry_in_s=numbers.retry_in_s,
            in_order=True,
            aside=frozenset(VmName(self.movers[one].name) for one in several if several.count(one) > 1),
        )

    def _source(self, way: Way, number: int) -> int:
        mover = way.moves[number][0]
        before = [target for one, target in way.moves[:number] if one == mover]
        return before[-1] if before else self.at[self.movers[mover].name]

    def _less_important(self, way: Way, where: Mapping[str, int | None]) -> dict[str, int | None]:
        """They have what is left when all is done."""
        free, at, on = list(self.free), dict(self.at), self._standing()
        for mover, target in way.moves:
            _move(self.movers[mover], at, target, free, on)
        for name, node in where.items():
            if node is not None:
                self._start(name, node, free, on)
        found: dict[str, int | None] = {}
        for piece in sorted(self.others, key=lambda piece: (-piece.level, piece.name)):
            able = sorted(self.numbers.may_go(piece), key=lambda target: (target[1] != self.at[piece.name], target))
            node = next((node for _, node in able if _fits(piece, node, free, on, self.fixed)), None)
            found[piece.name] = node
            if node is not None:
                _add(free, node, piece.need, -1)
                on[node].add(piece.name)
        return found

    def _standing(self) -> list[set[str]]:
        return [{name for name, piece in here.items() if piece.runs} for here in self.nodes.on]

    def _start(self, name: str, node: int, free: list[Free], on: list[set[str]]) -> None:
        piece = self._piece(name)
        _add(free, node, piece.need, -1)
        on[node] |= {name, *piece.others}

    def _piece(self, name: str) -> Piece:
        return next(piece for piece in (*self.asked, *self.others) if piece.name == name)

    def _can_start(self, way: Way, where: Mapping[str, int | None], names: Sequence[str]) -> bool:
        """All of these now, and the moves after that one by one."""
        for free, moves in ((list(self.now), ()), (list(self.free), way.moves)):
            at, on = dict(self.at), self._standing()
            for name in names:
                piece, node = self._piece(name), where[name]
                assert node is not None
                if not _fits(piece, node, free, on, self.fixed):
                    return False
                self._start(name, node, free, on)
            for mover, target in moves:
                if not _fits(self.movers[mover], target, free, on, self.fixed):
                    return False
                _move(self.movers[mover], at, target, free, on)
        return True


def _fits(piece: Piece, node: int, free: Sequence[Free], on: Sequence[set[str]], fixed: Sequence[set[str]]) -> bool:
    memory, vcpus = free[node]
    is_apart = not piece.apart & (on[node] | fixed[node])
    if piece.is_reserved and min(memory, vcpus) < 0:
        return False
    return piece.need.memory_mib <= max(0, memory) and piece.need.vcpus <= max(0, vcpus) and is_apart


def _move(piece: Piece, at: dict[str, int], target: int, free: list[Free], on: list[set[str]]) -> None:
    source, at[piece.name] = at[piece.name], target
    _add(free, source, piece.need)
    _add(free, target, piece.need, -1)
    on[source].discard(piece.name)
    on[target].add(piece.name)


def _add(free: list[Free], node: int, need: Size, sign: int = 1) -> None:
    memory, vcpus = free[node]
    free[node] = (memory + sign * need.memory_mib, vcpus + sign * need.vcpus)
