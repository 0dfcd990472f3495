"""Placement rules with what is there: each rule, and where the vms are that it names. Of a snapshot alone."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, SeenState
from vmha.model.rules import Rule, labelled
from vmha.policy.state.snapshot import Snapshot, VmView

_IS_THERE = (SeenState.RUNNING, SeenState.PAUSED, SeenState.STOPPING)


@dataclass(slots=True, kw_only=True)
class Counted:
    """A rule, and where its vms are, with what this plan adds. ``at`` and ``placed`` are of rules between vms."""

    rule: Rule
    at: dict[NodeName, set[VmName]] = field(default_factory=dict)
    placed: set[VmName] = field(default_factory=set)
    misfits: dict[NodeName, str] = field(default_factory=dict)  # what is wrong with a node's labels; looked up once

    def count(self, vm: VmName, node: NodeName) -> None:
        self.at.setdefault(node, set()).add(vm)
        self.placed.add(vm)

    def beside(self, vm: VmName, node: NodeName) -> int:
        """How many others of the rule are on the node."""
        here = self.at.get(node, ())
        return len(here) - (vm in here)

    def elsewhere(self, vm: VmName, node: NodeName) -> int:
        return len(self.placed) - (vm in self.placed) - self.beside(vm, node)

    def misfit(self, node: NodeName, snapshot: Snapshot) -> str:
        if node not in self.misfits:
            self.misfits[node] = misfit(self.rule, node, snapshot)
        return self.misfits[node]


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """The rules by the vms that they name, in the order of the rules' names."""

    hard: dict[VmName, list[Counted]] = field(default_factory=dict)
    soft: dict[VmName, list[Counted]] = field(default_factory=dict)


def read_rules(snapshot: Snapshot, *, without: Iterable[VmName] = ()) -> Affinity:
    """``without``: vms that are taken to have left."""
    found, left = Affinity(), set(without)
    for _, rule in sorted(snapshot.rules.items()):
        counted = Counted(rule=rule)
        book = found.hard if rule.hard else found.soft
        for name in map(VmName, rule.names):
            vm = snapshot.vms.get(name)
            if vm is None or vm.spec is None:
                continue
            book.setdefault(name, []).append(counted)
            if not rule.vms and name not in left:
                for node in places_of(vm, snapshot):
                    counted.count(name, node)
    return found


def places_of(vm: VmView, snapshot: Snapshot) -> Iterator[NodeName]:
    """By its claim, were it of a session that is over, and where it is seen."""
    placement = vm.placement.value if vm.placement else None
    if placement is not None and placement.phase not in (Phase.STOPPED, Phase.DEPARTED):
        yield from (node for node in (placement.node, placement.target) if node is not None)
    for seen in snapshot.observations(vm) if vm.seen else ():
        if seen.state in _IS_THERE and not seen.second:
            yield seen.node  # its holder's, or about to be adopted


def misfit(rule: Rule, node: NodeName, snapshot: Snapshot) -> str:
    """What a node's labels lack, or have too much, for a rule about labels; '' when they fit."""
    view = snapshot.nodes.get(node)
    return misfit_of(rule, view.spec.value.labels if view and view.spec else {})


def misfit_of(rule: Rule, labels: Mapping[str, str]) -> str:
    if lacking := {label: value for label, value in rule.on.items() if labels.get(label) != value}:
        return f"is not labelled {labelled(lacking)}"
    barred = {label: value for label, value in rule.off.items() if labels.get(label) == value}
    return f"is labelled {labelled(barred)}" if barred else ""
