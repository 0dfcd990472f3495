"""How well a node suits a vm: RGManager's failover domains, score for score.

The table is RGManager's ``node_should_start``; 564 results of the original code are the test of this file.
A node without a priority in an ordered domain counts as 0, which is the most preferred: so did the original.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum

from vmha.model.ids import NodeName
from vmha.model.vm import FailoverDomain


class Score(IntEnum):
    ILLEGAL = 0
    GOOD = 1
    BETTER = 2
    BEST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """What every online node is to one vm: the members one by one, and all the others at once."""

    members: Mapping[NodeName, tuple[Score, int]]
    others: Score

    def find(self, node: NodeName) -> tuple[Score, int]:
        """Score and priority of a node that is online; the higher score and then the lower priority comes first."""
        return self.members.get(node) or (self.others, 0)


def rank(domain: FailoverDomain | None, *, online: Collection[NodeName], owner: NodeName | None) -> Ranking:
    """Args:
    online: nodes that could run the vm now.
    owner: the node that runs the vm now, None when nothing runs it.
    """
    if domain is None:
        return Ranking(members={}, others=Score.BEST)
    priorities = priorities_of(domain)
    lowest = min((priority for name, priority in priorities.items() if name in online), default=None)

    def points(node: NodeName) -> Score:
        if node not in online:
            return Score.ILLEGAL
        if priorities[node] != lowest:
            return Score.BEST if domain.nofailback and owner == node else Score.BETTER
        owned_by_another = owner is not None and owner != node and owner in online
        return Score.BETTER if domain.nofailback and owned_by_another else Score.BEST

    others = Score.BEST if lowest is None else Score.GOOD
    return Ranking(
        members={name: (points(name), priority) for name, priority in priorities.items()},
        others=Score.ILLEGAL if domain.restricted else others,
    )


def score(
    domain: FailoverDomain | None, node: NodeName, *, online: Collection[NodeName], owner: NodeName | None
) -> Score:
    """One node's score; a node that is not among ``online`` is illegal. Arguments as for ``rank``."""
    return rank(domain, online=online, owner=owner).find(node)[0] if node in online else Score.ILLEGAL


def priorities_of(domain: FailoverDomain) -> dict[NodeName, int]:
    """Rank of each member; lower is tried first. An unordered domain has one rank."""
    return {NodeName(member.node): member.priority if domain.ordered else 0 for member in domain.members}
