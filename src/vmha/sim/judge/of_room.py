"""Does the leader fill a node beyond what it has? From outside: from the store's raw JSON, with no code of the policy.

Checked at every commit by which it starts, recovers or migrates a vm: what has a place on that node, with this one,
takes no more memory than the node has, less the reserve, times the overcommit ratio; nor more vcpus, where limited.
A vm on its way counts at both ends, from the commit that asks for the migration until the one that hands it over. What
is not known is not limited.

What a hand has brought to a node (an adoption) is none of the leader's doing: it does not count until the leader gives
that vm a place itself. A vm that was removed takes nothing that anybody knows.
"""

from collections.abc import Iterator
from typing import Any

from vmha.sim.judge.invariants import Violation
from vmha.sim.world.record import CommitLine

Json = dict[str, Any]

LAW = "no-node-is-given-more-than-it-has"
_PLACED = ("assigned", "held", "stopping", "migrating")
_RULES = ("reserve_mib", "memory_overcommit", "vcpu_overcommit")
_NO_RULES: Json = {"reserve_mib": 0, "memory_overcommit": 1.0, "vcpu_overcommit": 0.0}


class Rooms:
    """Follows the record; a commit is noted before it is judged."""

    def __init__(self) -> None:
        self._config: Json = {}
        self._nodes: dict[tuple[str, str], Json] = {}  # by name, and spec or status
        self._by_hand: set[str] = set()

    def note(self, line: CommitLine, kinds: dict[str, str]) -> None:
        """``kinds``: what the journal entry that came with it says was done to which vm."""
        for written in line.written:
            match written.key.split("/"):
                case ["config"]:
                    self._config = written.read()
                case ["nodes", node, "spec" | "status" as part] if written.value:
                    self._nodes[node, part] = written.read()
        self._by_hand |= {vm for vm, kind in kinds.items() if kind == "adopt"}

    def judge(self, at_s: float, vm: str, specs: dict[str, Json], placements: dict[str, Json]) -> Iterator[Violation]:
        self._by_hand.discard(vm)
        node = placements[vm]["target"] or placements[vm]["node"]
        there = [
            one
            for one, place in placements.items()
            if one in specs and one not in self._by_hand
            if place["phase"] in _PLACED and node in (place["node"], place["target"])
        ]
        for what, limit in self._limits(node).items():
            takes = {one: _size(what, specs[one], placements[one]) for one in there}
            if takes.get(vm) and sum(takes.values()) > limit:
                told = ", ".join(f"{one} {size}" for one, size in sorted(takes.items()))
                text = f"{vm} is sent to {node}, which has {what} {limit:g} for vms: {told}"
                yield Violation(at_s=at_s, law=LAW, text=text)

    def _limits(self, node: str) -> dict[str, float]:
        spec, status = self._nodes.get((node, "spec"), {}), self._nodes.get((node, "status"), {})
        rules = {**_NO_RULES, **self._config.get("capacity", {})}
        rules |= {rule: own for rule in _RULES if (own := spec.get("capacity", {}).get(rule)) is not None}
        memory = spec.get("memory_mib") or status.get("memory_mib")
        vcpus = spec.get("vcpus") or status.get("vcpus")
        found: dict[str, float] = {}
        if memory:
            found["memory_mib"] = (memory - rules["reserve_mib"]) * rules["memory_overcommit"]
        if vcpus and rules["vcpu_overcommit"]:
            found["vcpus"] = vcpus * rules["vcpu_overcommit"]
        return found


def _size(what: str, spec: Json, placement: Json) -> int:
    """Where the definition is a file, what the last start read of it counts as well."""
    said: int = spec.get(what, 0)
    return max(said, placement.get(what, 0)) if spec.get("definition") else said
