"""Draws, where hosts are nearly full, what makes vms look for room at the end of a life, when its storms are over: in a
storm little migrates, and who migrates nowhere takes no room at two ends. By dice of its own."""

import random  # noqa: TID251 (the seed is part of the command line, as in ``draw``)
from collections.abc import Collection, Iterator

from vmha.sim.drawing.draw_room import is_tight
from vmha.sim.faults.schedule import Schedule, Step

MOVES = 8
_DRAIN, _MIGRATE, _STOP = "drain", "migrate", "stop"


def moves(dice: random.Random, cluster: Schedule, begin_s: float, accepted: Collection[str]) -> Iterator[Step]:
    """After ``begin_s``; ``accepted``: the names of faults that this life may have."""
    kinds = [kind for kind in (_DRAIN, _MIGRATE, _MIGRATE, _STOP) if kind in accepted]
    if not is_tight(cluster) or not kinds:
        return
    nodes, vms = [node.name for node in cluster.nodes], [vm.name for vm in cluster.vms]
    at = begin_s + 2 * cluster.timing.dead_after_s
    for _ in range(MOVES):
        at = round(at + dice.uniform(0.2, 4.0), 4)
        kind, node, vm = dice.choice(kinds), dice.choice(nodes), dice.choice(vms)
        for_s = round(dice.uniform(2.0, 10.0), 3)
        if kind == _DRAIN:
            yield Step(at=at, do=kind, node=node, for_s=for_s)
        elif kind == _MIGRATE:
            yield Step(at=at, do=kind, vm=vm, to=node)
        else:
            yield Step(at=at, do=kind, vm=vm, for_s=for_s)
