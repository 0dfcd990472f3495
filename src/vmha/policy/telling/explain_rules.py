"""Placement rules in words: what they mean for one vm, and which hard ones are broken at the moment.

A hard rule is broken by a hand, or by an edit of the rule or of a node's labels, never by vmha: it is told, and left
alone. A guest is not moved, nor ended, for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase
from vmha.model.rules import Rule, where
from vmha.policy.placing.rule_book import misfit
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.no_node_left import Layout, no_node_left

NAMED_AT_MOST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A hard rule that does not hold now, or can not: whom it concerns, and the words."""

    rule: str
    vms: tuple[str, ...]
    text: str


def broken(snapshot: Snapshot) -> Iterator[Broken]:
    """By the rules' names; then what several of them, or one with a failover domain, leave no node."""
    for _, rule in sorted(snapshot.rules.items()):
        if rule.hard:
            yield from _of_labels(rule, snapshot) if rule.vms else _of_vms_apart(rule, snapshot)
    for one in no_node_left(Layout.of(snapshot)) if snapshot.rules else ():
        yield Broken(rule=one.rules[0], vms=one.vms, text=one.text)


def _of_vms_apart(rule: Rule, snapshot: Snapshot) -> Iterator[Broken]:
    there: dict[NodeName, list[str]] = {}
    for name in sorted(rule.apart):
        if (node := node_of(name, snapshot)) is not None:
            there.setdefault(node, []).append(name)
    for node, names in sorted(there.items()):
        if len(names) > 1:
            text = f"rule {rule.name} keeps {_some(names)} apart, and they are on {node} together"
            yield Broken(rule=rule.name, vms=tuple(names), text=f"{text}; part them with: vmha vm migrate {names[-1]}")
    defined = [name for name in rule.apart if _is_defined(name, snapshot)]
    if len(defined) > len(snapshot.nodes) > 0:
        count = f"there {_are(len(snapshot.nodes), 'node')}"
        text = f"rule {rule.name} keeps {len(defined)} vms apart, and {count}: not all of them can run at once"
        yield Broken(rule=rule.name, vms=tuple(defined), text=text)


def _of_labels(rule: Rule, snapshot: Snapshot) -> Iterator[Broken]:
    defined = tuple(name for name in rule.vms if _is_defined(name, snapshot))
    if defined and snapshot.nodes and all(misfit(rule, node, snapshot) for node in snapshot.nodes):
        text = f"rule {rule.name} keeps {_some(sorted(defined))} {where(rule)}, and there is no such node"
        yield Broken(rule=rule.name, vms=defined, text=text)
        return
    for name in sorted(defined):
        node = node_of(name, snapshot)
        if node is not None and (words := misfit(rule, node, snapshot)):
            text = f"rule {rule.name} keeps {name} {where(rule)}, and it is on {node}, which {words}"
            yield Broken(rule=rule.name, vms=(name,), text=f"{text}; move it with: vmha vm migrate {name}")


def tell_rules(name: VmName, snapshot: Snapshot) -> Iterator[str]:
    """Sentences for ``vmha vm why``."""
    for _, rule in sorted(snapshot.rules.items()):
        if name in rule.names:
            yield f"Rule {rule.name} {_meaning(rule, name, snapshot)}."
    if snapshot.rules:
        yield from (f"Mind: {one.text}." for one in broken(snapshot) if name in one.vms)


def _meaning(rule: Rule, name: str, snapshot: Snapshot) -> str:
    verb = "keeps it" if rule.hard else "would like it"
    if rule.vms:
        return f"{verb} {where(rule)}"
    others = [f"{other}{_whereabouts(other, snapshot)}" for other in rule.names if other != name]
    return f"{verb} {'apart from' if rule.apart else 'together with'} {_some(others)}"


def meaning(rule: Rule) -> str:
    """Of the rule by itself, in a few words."""
    names = ", ".join(rule.names)
    return f"{names} {where(rule)}" if rule.vms else f"{names} {rule.kind}"


def _whereabouts(name: str, snapshot: Snapshot) -> str:
    if not _is_defined(name, snapshot):
        return " (not defined)"
    node = node_of(name, snapshot)
    return f" (on {node})" if node else ""


def node_of(name: str, snapshot: Snapshot) -> NodeName | None:
    """Where the vm has its place."""
    vm = snapshot.vms.get(VmName(name))
    placement = vm.placement.value if vm and vm.spec and vm.placement else None
    return None if placement is None or placement.phase in (Phase.STOPPED, Phase.DEPARTED) else placement.node


def _is_defined(name: str, snapshot: Snapshot) -> bool:
    vm = snapshot.vms.get(VmName(name))
    return vm is not None and vm.spec is not None


def _are(number: int, what: str) -> str:
    return f"is 1 {what}" if number == 1 else f"are {number} {what}s"


def _some(names: list[str]) -> str:
    more = len(names) - NAMED_AT_MOST
    if more > 0:
        return f"{', '.join(names[:NAMED_AT_MOST])} and {more} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
