"""Does the leader keep the hard placement rules? From outside: from the store's raw JSON, with no code of the policy.

Checked at every commit by which it starts, recovers or migrates a vm: no other vm that a hard rule keeps apart from it
has a place on that node, at either end of a move, and the node's labels are those that hard rules ask for. What a hand
has brought together is none of the leader's doing.
"""

import json
from collections.abc import Iterator
from typing import Any

from vmha.sim.judge.invariants import Violation
from vmha.sim.world.record import CommitLine

_PLACED = ("assigned", "held", "stopping", "migrating")


class Rules:
    """Follows the record; a commit is noted before it is judged."""

    def __init__(self) -> None:
        self._rules: dict[str, Any] = {}
        self._nodes: dict[str, Any] = {}

    def note(self, line: CommitLine) -> None:
        for written in line.written:
            match written.key.split("/"):
                case ["rules", name]:
                    self._rules[name] = json.loads(written.value) if written.value else None
                case ["nodes", node, "spec"]:
                    self._nodes[node] = json.loads(written.value) if written.value else None

    def judge(self, at_s: float, vm: str, placements: dict[str, Any]) -> Iterator[Violation]:
        node = placements[vm]["target"] or placements[vm]["node"]
        for name, rule in self._rules.items():
            if not rule or not rule["hard"]:
                continue
            if vm in rule["apart"]:
                for other in rule["apart"]:
                    place = placements.get(other)
                    if other == vm or place is None or place["phase"] not in _PLACED:
                        continue
                    if node in (place["node"], place["target"]):
                        text = f"{vm} is sent to {node}, where {other} has its place, and rule {name} keeps them apart"
                        yield Violation(at_s=at_s, law="hard-rules-keep-vms-apart", text=text)
            if vm in rule["vms"]:
                has = (self._nodes.get(node) or {}).get("labels", {})
                wanted = all(has.get(label) == value for label, value in rule["on"].items())
                if not wanted or any(has.get(label) == value for label, value in rule["off"].items()):
                    text = f"{vm} is sent to {node}, labelled {has}, against rule {name}"
                    yield Violation(at_s=at_s, law="hard-rules-choose-nodes", text=text)
