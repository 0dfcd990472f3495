"""Which nodes may be unable to tell whether a vm that nobody ever held runs there: few, and worked out once.

A node that is there, and has looked since the vm was defined, knows.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmha.model.ids import NodeName, Revision
from vmha.policy.membership import Condition

if TYPE_CHECKING:
    from vmha.policy.placement import Field

UNHEARD = (Condition.SUSPECT, Condition.LOST, Condition.FENCING, Condition.JOINING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """``nodes`` are doubtful whatever is asked; all others have looked for what was defined up to ``looked_for``."""

    nodes: tuple[NodeName, ...]
    looked_for: Revision | None


def who_may_not_know(defined: Revision, ground: "Field") -> tuple[NodeName, ...]:
    """Of a vm that was defined at that revision."""
    if ground.doubts is None:
        ground.doubts = _doubts(ground)
    known = ground.doubts
    is_covered = known.looked_for is None or known.looked_for >= defined
    return known.nodes if is_covered else tuple(ground.verdicts)


def _doubts(ground: "Field") -> Doubts:
    nodes: list[NodeName] = []
    looked: list[Revision] = []
    for name, verdict in ground.verdicts.items():
        if verdict.condition in UNHEARD or verdict.condition is Condition.OFFLINE:
            nodes.append(name)
        elif status := ground.snapshot.nodes[name].current_status:
            looked.append(status.looked_for)
    return Doubts(nodes=tuple(nodes), looked_for=min(looked, default=None))
