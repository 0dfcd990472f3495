"""Whether a vm finds a node for certain, in whatever order others are placed before it and wherever they go.

A node refuses a vm of size ``s`` for want of room only once more than ``free - s`` has been put on it. For all of them
to refuse it, more than the sum of that must have been placed; if all that may be placed before it is no more, one of
them takes it. With two measures (memory, vcpus) each node is full by one of them, so what is placed is counted in
shares of all that may be placed: each measure gives one whole at most.

Sound, not complete: a vm of which this says no may fit all the same, and only the planner's own choices tell.
"""

from collections.abc import Iterable
from math import inf

from vmha.policy.state.reservation import NOTHING, Room, Size

ROUNDING = 1e-12
"""To refuse, a node must be over by a whole MiB or vcpu: far more of the sum than this."""


def is_certain(need: Size, before: Size, nodes: Iterable[tuple[Room, Size]]) -> bool:
    """Args:
    need: of the vm.
    before: all that may be placed before it, together.
    nodes: those that may take it, each with its room and what is taken of it; roomy ones first make it quick.
    """
    wholes = 0.0
    for room, taken in nodes:
        memory = _spare(room.memory_mib, taken.memory_mib, need.memory_mib)
        vcpus = _spare(room.vcpus, taken.vcpus, need.vcpus)
        if memory < 0 or vcpus < 0:
            continue
        wholes += min(_share(memory, before.memory_mib), _share(vcpus, before.vcpus))
        if wholes >= _most(before) - ROUNDING:
            return True
    return False


def _spare(most: int, used: int, needed: int) -> float:
    """What else may be put there before it refuses ``needed``. Where nothing is limited or needed: without end."""
    return most - used - needed if most and needed else inf


def _share(spare: float, before: int) -> float:
    return spare / before if before else inf


def _most(before: Size) -> int:
    """Wholes that can be placed at most."""
    return (before.memory_mib > 0) + (before.vcpus > 0) if before != NOTHING else 0
