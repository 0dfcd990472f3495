"""Which nodes may be unable to tell whether a vm that nobody ever held runs there: few, and worked out once.

A node that is there, and has looked since the vm was defined, knows.
"""

from vmha.model.ids import NodeName, Revision
from vmha.policy.members.membership import Condition
from vmha.policy.placing.field import Doubts, Field

UNHEARD = (Condition.SUSPECT, Condition.LOST, Condition.FENCING, Condition.JOINING)


def who_may_not_know(defined: Revision, ground: Field) -> tuple[NodeName, ...]:
    """Of a vm that was defined at that revision."""
    if ground.doubts is None:
        ground.doubts = _doubts(ground)
    known = ground.doubts
    is_covered = known.looked_for is None or known.looked_for >= defined
    return known.nodes if is_covered else tuple(ground.verdicts)


def _doubts(ground: Field) -> Doubts:
    nodes: list[NodeName] = []
    looked: list[Revision] = []
    for name, verdict in ground.verdicts.items():
        if verdict.condition in UNHEARD or verdict.condition is Condition.OFFLINE:
            nodes.append(name)
        elif status := ground.snapshot.nodes[name].current_status:
            looked.append(status.looked_for)
    return Doubts(nodes=tuple(nodes), looked_for=min(looked, default=None))
