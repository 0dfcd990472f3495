"""How well a node suits a vm: RGManager's failover domains, score for score.

The table is RGManager's ``node_should_start``; 564 results of the original code are the test of this file.
A node without a priority in an ordered domain counts as 0, which is the most preferred: so did the original.
"""

from collections.abc import Collection
from enum import IntEnum

from vmha.model.ids import NodeName
from vmha.model.vm import FailoverDomain


class Score(IntEnum):
    ILLEGAL = 0
    GOOD = 1
    BETTER = 2
    BEST = 3


def score(
    domain: FailoverDomain | None, node: NodeName, *, online: Collection[NodeName], owner: NodeName | None
) -> Score:
    """Args:
    online: nodes that could run the vm now; a node that is not among them is illegal.
    owner: the node that runs the vm now, None when nothing runs it.
    """
    if node not in online:
        return Score.ILLEGAL
    if domain is None:
        return Score.BEST
    priorities = priorities_of(domain)
    members_online = [name for name in priorities if name in online]
    if node not in priorities:
        if domain.restricted:
            return Score.ILLEGAL
        return Score.GOOD if members_online else Score.BEST
    if priorities[node] > min(priorities[name] for name in members_online):
        return Score.BEST if domain.nofailback and owner == node else Score.BETTER
    owned_by_another = owner is not None and owner != node and owner in online
    return Score.BETTER if domain.nofailback and owned_by_another else Score.BEST


def priorities_of(domain: FailoverDomain) -> dict[NodeName, int]:
    """Rank of each member; lower is tried first. An unordered domain has one rank."""
    return {NodeName(member.node): member.priority if domain.ordered else 0 for member in domain.members}
