"""Rules and failover domains that together leave a vm no node, or vms apart too few, though each alone could be kept.

A rule that alone asks for more than there is (no node has its label, more vms apart than nodes) is not meant: a node
may still join or get a label, and until then ``explain_rules`` tells it. Here two or more of what was defined stand
against each other: a hard rule about labels and a restricted failover domain none of whose members has them, two such
rules and no node with the labels of both, vms apart of which these leave too many on too few nodes.

Nodes count as they are registered, whether they are online or not. Each set that is named is one from which nothing
can be taken away. Which vms go where is a matching of vms and nodes; the vms for which there is none are by Hall's
theorem more than the nodes that they may be on. Several rules of vms apart are not held against each other.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Self

from vmha.model.rules import Rule, where
from vmha.model.service import Service
from vmha.model.vm import FailoverDomain
from vmha.policy.placing.rule_book import misfit_of
from vmha.policy.state.snapshot import Snapshot

NAMED_AT_MOST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All that says where vms may be. ``nodes``: with their labels; ``vms``: with the failover domain of each."""

    nodes: Mapping[str, Mapping[str, str]]
    domains: Mapping[str, FailoverDomain]
    rules: Mapping[str, Rule]
    services: Mapping[str, Service]
    vms: Mapping[str, str | None]

    @classmethod
    def of(cls, snapshot: Snapshot) -> Self:
        return cls(
            nodes={name: view.spec.value.labels if view.spec else {} for name, view in snapshot.nodes.items()},
            domains=snapshot.domains,
            rules=snapshot.rules,
            services=snapshot.services,
            vms={name: view.spec.value.failover_domain for name, view in snapshot.vms.items() if view.spec},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoNodeLeft:
    """For whom, by which rules, failover domain and service together, and the words."""

    vms: tuple[str, ...]
    rules: tuple[str, ...]
    domains: tuple[str, ...]
    services: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, order=True)
class Cause:
    """A hard rule about labels, or (``is_domain``) a restricted failover domain."""

    is_domain: bool
    name: str


def no_node_left(then: Layout, before: Layout | None = None) -> Iterator[NoNodeLeft]:
    """Of the cluster as it is to be: each smallest set, named once. Only what ``before`` could be kept, or was not."""
    if not then.nodes or not any(rule.hard for rule in then.rules.values()):
        return
    places, were = _Places(then), _Places(before) if before else None
    told: set[tuple[str, tuple[Cause, ...]]] = set()
    for apart, vms, causes in (*_without_a_node(places), *_too_many_apart(places)):
        if (apart, causes) in told or (were and not were.could_be(apart, vms, causes, places)):
            continue
        told.add((apart, causes))
        yield _said(apart, vms, causes, places)


_Found = tuple[str, tuple[str, ...], tuple[Cause, ...]]
"""The rule of vms apart ('': none), the vms, and what leaves them no node or too few."""


@dataclass(slots=True)
class _Places:
    """Which nodes what leaves to whom; each looked up once."""

    layout: Layout
    service_of: dict[str, str] = field(default_factory=dict)
    rules_of: dict[str, list[str]] = field(default_factory=dict)  # of a vm, or of a whole service ('service NAME')
    nodes: dict[Cause, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, service in sorted(self.layout.services.items()):
            self.service_of |= dict.fromkeys((vm for vm in service.members if vm in self.layout.vms), name)
        for name, rule in sorted(self.layout.rules.items()):
            for vm in rule.vms if rule.hard else ():
                if vm in self.layout.vms and name not in (known := self.rules_of.setdefault(self.house(vm), [])):
                    known.append(name)

    def house(self, vm: str) -> str:
        """Whose node it is: its own, or its service's."""
        return f"service {self.service_of[vm]}" if vm in self.service_of else vm

    def causes(self, vm: str) -> tuple[Cause, ...]:
        service = self.service_of.get(vm)
        name = self.layout.vms[vm] if service is None else self.layout.services[service].failover_domain
        domain = self.layout.domains.get(name) if name else None
        rules = [Cause(False, rule) for rule in self.rules_of.get(self.house(vm), ())]
        return (*rules, Cause(True, domain.name)) if domain and domain.restricted else tuple(rules)

    def left_by(self, cause: Cause) -> frozenset[str]:
        if cause not in self.nodes:
            if cause.is_domain:
                members = {member.node for member in self.layout.domains[cause.name].members}
                found = (node for node in self.layout.nodes if node in members)
            else:
                rule = self.layout.rules[cause.name]
                found = (node for node, labels in self.layout.nodes.items() if not misfit_of(rule, labels))
            self.nodes[cause] = frozenset(found)
        return self.nodes[cause]

    def usable(self, vm: str) -> tuple[Cause, ...]:
        """Those of which each by itself leaves a node: of another one it is told that there is no such node."""
        return tuple(cause for cause in self.causes(vm) if self.left_by(cause))

    def left_to(self, vm: str, causes: Iterable[Cause]) -> frozenset[str]:
        mine = set(self.causes(vm))
        return frozenset(self.layout.nodes).intersection(*(self.left_by(cause) for cause in causes if cause in mine))

    def has_room(self, vms: Iterable[str], causes: Iterable[Cause]) -> bool:
        """Is there a node for each, no two on one?"""
        known = tuple(causes)
        return not any(True for _ in _unmatched({vm: self.left_to(vm, known) for vm in vms}))

    def could_be(self, apart: str, vms: Sequence[str], causes: Sequence[Cause], then: "_Places") -> bool:
        """Was it possible, or not all of it there yet? Then what is to be ``then`` is what makes it impossible."""
        rule = self.layout.rules.get(apart)
        if apart and not (rule and rule.hard and set(vms) <= set(rule.apart)):
            return True
        for vm in vms:
            if vm not in self.layout.vms or not {c for c in then.causes(vm) if c in causes} <= set(self.causes(vm)):
                return True
        return self.has_room(vms, causes)


def _without_a_node(places: _Places) -> Iterator[_Found]:
    houses: dict[tuple[str, tuple[Cause, ...]], str] = {}
    for vm in sorted(places.layout.vms):
        if len(usable := places.usable(vm)) > 1:
            houses.setdefault((places.service_of.get(vm, vm), usable), vm)
    for (_, causes), vm in houses.items():
        if places.left_to(vm, causes):
            continue
        pairs: list[tuple[Cause, ...]] = [pair for pair in combinations(causes, 2) if not places.left_to(vm, pair)]
        for found in pairs or [_smallest((vm,), causes, places)]:
            yield "", (vm,), found


def _too_many_apart(places: _Places) -> Iterator[_Found]:
    for name, rule in sorted(places.layout.rules.items()):
        if not rule.hard or not rule.apart:
            continue
        left: dict[str, frozenset[str]] = {}
        for vm in (vm for vm in rule.apart if vm in places.layout.vms):
            nodes = places.left_to(vm, places.usable(vm))
            if nodes and len(nodes) < len(places.layout.nodes):  # who may be anywhere is in nobody's way but by number
                left[vm] = nodes
        for vms in _unmatched(left):
            causes = tuple(sorted({cause for vm in vms for cause in places.usable(vm)}))
            if found := _smallest(vms, causes, places):
                yield name, vms, found


def _smallest(vms: tuple[str, ...], causes: tuple[Cause, ...], places: _Places) -> tuple[Cause, ...]:
    """Of these causes so many that there is no room, and with any one less there were. Empty: there is none anyhow."""
    for cause in causes:
        fewer = tuple(other for other in causes if other != cause)
        if not places.has_room(vms, fewer):
            causes = fewer
    return causes


def _unmatched(left: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, ...]]:
    """Sets of vms that are one more than the nodes which are left to them; those with the fewest nodes first.

    Augmenting paths: where none leads on from a vm, all nodes that it reached are taken, by vms that are to have one.
    """
    taken: dict[str, str] = {}
    full: set[str] = set()

    def find(vm: str, reached: dict[str, None]) -> bool:
        for node in sorted(left[vm] - reached.keys()):
            if node in reached:
                continue
            reached[node] = None
            if node not in taken or find(taken[node], reached):
                taken[node] = vm
                return True
        return False

    for vm in sorted(left, key=lambda vm: (len(left[vm]), vm)):
        if left[vm] and left[vm] <= full:
            continue  # said already, of others
        reached: dict[str, None] = {}
        if not find(vm, reached):
            full |= reached.keys()
            yield tuple(sorted({vm, *(taken[node] for node in reached)}))


# --- in words


def _said(apart: str, vms: tuple[str, ...], causes: tuple[Cause, ...], places: _Places) -> NoNodeLeft:
    services = tuple(sorted({places.service_of[vm] for vm in vms if vm in places.service_of}))
    parts = [_in_words(cause, vms, places, is_of_one=not apart) for cause in causes]
    because = " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]
    if apart:
        nodes = sorted({node for vm in vms for node in places.left_to(vm, causes)})
        are = "is" if len(nodes) == 1 else "are"
        text = (
            f"rule {apart} keeps {_some(vms)} apart, and only {_some(nodes)} {are} left for these {len(vms)}: {because}"
        )
        accepted = f"at most {len(nodes)} of them apart, or more nodes for them"
    else:
        whom = f"service {services[0]}" if services else vms[0]
        text = f"no node is left for {whom}: {because}"
        accepted = f"a node that suits {'both' if len(parts) == 2 else 'all'}, or one of these less"
    return NoNodeLeft(
        vms=vms,
        rules=(*([apart] if apart else []), *(cause.name for cause in causes if not cause.is_domain)),
        domains=tuple(cause.name for cause in causes if cause.is_domain),
        services=services,
        text=f"{text} (accepted: {accepted})",
    )


def _in_words(cause: Cause, vms: Sequence[str], places: _Places, *, is_of_one: bool) -> str:
    whom = [vm for vm in vms if cause in places.causes(vm)]
    if cause.is_domain:
        kept = "it" if is_of_one else _some(whom)
        return f"failover domain {cause.name} keeps {kept} on {_some(sorted(places.left_by(cause)))}"
    rule = places.layout.rules[cause.name]
    if is_of_one:
        kept = _some([vm for vm in rule.vms if places.house(vm) == places.house(whom[0])])
    else:
        kept = _some([vm if vm in rule.vms else f"{vm} (by service {places.service_of[vm]})" for vm in whom])
    return f"rule {rule.name} keeps {kept} {where(rule)}"


def _some(names: Sequence[str]) -> str:
    if (more := len(names) - NAMED_AT_MOST) > 0:
        return f"{', '.join(names[:NAMED_AT_MOST])} and {more} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
