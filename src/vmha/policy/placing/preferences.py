"""What the failover domains make of the nodes that may receive vms: worked out once, and kept while neither changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vmha.model.ids import NodeName
from vmha.model.vm import FailoverDomain
from vmha.policy.placing.failover_domain import Ranking, rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """Asked by domain (and owner, where that matters), not by vm. Fills itself; what it says is of its two fields."""

    eligible: frozenset[NodeName]
    domains: Mapping[str, FailoverDomain]
    _rankings: dict[tuple[str, NodeName | None], Ranking] = field(default_factory=dict)
    _better: dict[tuple[str, NodeName], list[tuple[tuple[int, int], NodeName]]] = field(default_factory=dict)

    def still(self, eligible: frozenset[NodeName], domains: Mapping[str, FailoverDomain]) -> "Preferences":
        """Itself, or others when something has changed."""
        is_same = self.domains is domains and self.eligible == eligible
        return self if is_same else Preferences(eligible=eligible, domains=domains)

    def ranking(self, domain: FailoverDomain | None, owner: NodeName | None) -> Ranking:
        is_known = owner is None or owner in self.eligible
        online = self.eligible if is_known or owner is None else self.eligible | {owner}
        matters = not is_known or (domain is not None and domain.nofailback)
        key = (domain.name if domain else "", owner if matters else None)
        if key not in self._rankings:
            self._rankings[key] = rank(domain, online=online, owner=owner)
        return self._rankings[key]

    def better_than(self, owner: NodeName, domain: FailoverDomain) -> list[tuple[tuple[int, int], NodeName]]:
        """The nodes that the domain prefers to ``owner``, each with its rank: the smallest is the most preferred."""
        key = (domain.name, owner)
        if key not in self._better:
            ranking = self.ranking(domain, owner)
            mine = ranking.find(owner)[0]
            pool = self.eligible if ranking.others > mine else self.eligible.intersection(ranking.members)
            found = ((ranking.find(name), name) for name in pool)
            self._better[key] = [((-points, priority), name) for (points, priority), name in found if points > mine]
        return self._better[key]

    def is_anything_better(self, domain: str | None, owner: NodeName) -> bool:
        """Is there anything that the vms of that failover domain on ``owner`` might go home to?"""
        found = self.domains.get(domain) if domain else None
        return found is not None and bool(self.better_than(owner, found))
