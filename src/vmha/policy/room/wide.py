"""All nodes of a large cluster, beside those that room/moving_aside.py looks at: what one search does the other one
sees.
"""

from collections.abc import Collection, Iterable, Mapping

from vmha.model.ids import NodeName, VmName
from vmha.policy.placing.room_asked import Asked
from vmha.policy.room.gathering import Gathering
from vmha.policy.room.moving_aside import Aside, Free, Nodes
from vmha.policy.room.numbers import Numbers


class Wide:
    def __init__(self, numbers: Numbers, aside: Aside) -> None:
        self._numbers, self._aside = numbers, aside
        self._nodes, self._cluster = numbers.whole()
        self._number = {node: number for number, node in enumerate(self._nodes)}
        self._gathering = Gathering(self._cluster)
        self.looks = 0

    def room_for(self, one: Asked, looks: int, without: Iterable[NodeName]) -> dict[VmName, NodeName] | None:
        """Where it goes, and all that make room for it. ``without``: nodes where the other search has done a thing."""
        self._gathering.closed |= {self._number[node] for node in without}
        self._read()
        piece = self._numbers.piece(one.spec, runs=False)
        found = self._gathering.room_for(piece, self._numbers.wherever(piece, self._nodes), looks)
        self.looks = max(0, self._gathering.looks)
        if found is None:
            return None
        node, moves = found
        comes: dict[int, set[str]] = {node: {piece.name, *piece.others}}
        for move in moves:
            comes.setdefault(move.source, set())
            comes.setdefault(move.target, set()).add(move.piece.name)
        self._tell(comes)
        where = {VmName(move.piece.name): self._nodes[move.target] for move in moves}
        return {VmName(piece.name): self._nodes[node], **where}

    def _read(self) -> None:
        for node, free in zip(self._numbers.nodes, self._aside.nodes.free, strict=True):
            self._cluster.free[self._number[node]] = free

    def _tell(self, comes: Mapping[int, Collection[str]]) -> None:
        for number, names in comes.items():
            at = self._numbers.number.get(self._nodes[number])
            if at is not None:
                close(self._aside.nodes, at, self._cluster.free[number], names)


def close(nodes: Nodes, at: int, free: Free, comes: Collection[str]) -> None:
    """There nobody moves any more, of those that stand there (until they have left) nor of those that come: whoever is
    to be apart from one of them does not start there.
    """
    memory, vcpus = free
    nodes.fixed[at] |= {*nodes.on[at], *comes}
    nodes.free[at], nodes.on[at] = (memory, vcpus), {}
    nodes.now[at] = (min(memory, nodes.now[at][0]), min(vcpus, nodes.now[at][1]))
