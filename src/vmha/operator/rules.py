"""Placement rules: defining and removing them touches no guest. What contradicts itself is refused, by the smallest set
that does; what only can not be met now (more vms apart than there are nodes) is told by ``vmha status``.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from vmha.model.errors import Rejected
from vmha.model.keys import Keys, encode
from vmha.model.rules import Rule
from vmha.model.service import Service
from vmha.operator import defined
from vmha.operator.client import Edit, OperatorClient, Reading
from vmha.operator.document import ClusterDocument
from vmha.operator.errors import unknown_name
from vmha.operator.relations import specs_of
from vmha.operator.satisfiable import check_places
from vmha.operator.yaml_source import Complaint
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.explain_rules import broken, meaning, node_of
from vmha.store.port import Compare, Delete, Put


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """What can not be together: the rules, the service if one takes part, and the words."""

    rules: tuple[str, ...]
    text: str
    service: str = ""


async def put_rule(client: OperatorClient, rule: Rule, *, replace: bool = False) -> Rule:
    """Create a rule. An equal one is a success; another of its name is replaced only when asked for.

    What it must not contradict is compared with it: of two who at the same time put what can not be together, one reads
    the other's and is refused. A vm that is removed meanwhile is not: the rule then names a vm that is not there.

    Raises:
        UnknownName: it names a vm that is not there.
        Rejected: it contradicts another rule, or a service.
    """

    def decide(reading: Reading) -> Edit[Rule]:
        snapshot = reading.snapshot
        found = snapshot.rules.get(rule.name)
        if found == rule:
            return Edit(result=rule)
        if found is not None and not replace:
            raise Rejected(f"there is another rule {rule.name}", accepted="another name, or --replace")
        known = [spec.name for spec in specs_of(snapshot)]
        for name in rule.names:
            if name not in known:
                raise Rejected(f"rule {rule.name}: {rule.kind}: {unknown_name('vm', name, known)}")
        for conflict in conflicts({**snapshot.rules, rule.name: rule}, snapshot.services.values()):
            if rule.name in conflict.rules:
                raise Rejected(conflict.text)
        check_places(snapshot, rule)
        key = client.keys.rule(rule.name)
        compares = [reading.unchanged(key), *settled(client.keys, reading), reading.settled(client.keys.domain(""))]
        told = [defined.put("rule", rule.name, found, rule, client.author)]
        return Edit(result=rule, ops=[Put(key, encode(rule))], compares=compares, told=told)

    return await client.change(decide)


def settled(keys: Keys, reading: Reading) -> list[Compare]:
    """Of whoever writes a rule or a service: no other of them was written since he judged his own by them."""
    return [reading.settled(keys.rule("")), reading.settled(keys.service(""))]


async def remove_rule(client: OperatorClient, name: str) -> Rule:
    """Raises: UnknownName. No vm moves for it."""

    def decide(reading: Reading) -> Edit[Rule]:
        rule = find_rule(reading.snapshot, name)
        key = client.keys.rule(name)
        told = [defined.removed("rule", name, client.author)]
        return Edit(result=rule, ops=[Delete(key)], compares=[reading.unchanged(key)], told=told)

    return await client.change(decide)


def find_rule(snapshot: Snapshot, name: str) -> Rule:
    """Raises: UnknownName, with the near names."""
    rule = snapshot.rules.get(name)
    if rule is None:
        raise unknown_name("rule", name, snapshot.rules)
    return rule


def who_rules(name: str, snapshot: Snapshot) -> list[str]:
    """The rules that name a vm."""
    return sorted(rule.name for rule in snapshot.rules.values() if name in rule.names)


def rule_views(snapshot: Snapshot, name: str = "") -> list[dict[str, Any]]:
    """For listings: each rule with where its vms are, and what is broken of it now. ``name``: that one alone.

    Raises:
        UnknownName: there is none of that name.
    """
    rules = [find_rule(snapshot, name)] if name else [rule for _, rule in sorted(snapshot.rules.items())]
    defined = {spec.name for spec in specs_of(snapshot)}
    told = list(broken(snapshot))
    return [
        {
            **rule.model_dump(mode="json"),
            "meaning": meaning(rule),
            "where": [{"name": vm, "node": node_of(vm, snapshot), "defined": vm in defined} for vm in rule.names],
            "broken": [one.text for one in told if one.rule == rule.name],
        }
        for rule in rules
    ]


def check_service(service: Service, snapshot: Snapshot) -> None:
    """Raises: Rejected when the service, as it is to be, goes against the rules."""
    services = [other for other in snapshot.services.values() if other.name != service.name]
    for conflict in conflicts(snapshot.rules, [*services, service]) if snapshot.rules else ():
        if conflict.service == service.name:
            raise Rejected(conflict.text)
    check_places(snapshot, service)


def wrong_rules(
    document: ClusterDocument, snapshot: Snapshot, known: Collection[str], *, prune: bool
) -> Iterator[Complaint]:
    """What is wrong with a document's rules, or with its services for the rules. ``known``: vms as they are to be."""
    given = {rule.name: index for index, rule in enumerate(document.rules or ())}
    services = {service.name: index for index, service in enumerate(document.services or ())}
    for index, rule in enumerate(document.rules or ()):
        for place, name in enumerate(rule.names):
            if name not in known:
                yield Complaint(path=("rules", index, rule.kind, place), text=f"{unknown_name('vm', name, known)}")
    rules = {} if prune and document.rules is not None else dict(snapshot.rules)
    kept = {} if prune and document.services is not None else dict(snapshot.services)
    rules |= {rule.name: rule for rule in document.rules or ()}
    kept |= {service.name: service for service in document.services or ()}
    for conflict in conflicts(rules, kept.values()):
        if mine := [name for name in conflict.rules if name in given]:
            yield Complaint(path=("rules", given[mine[-1]]), text=conflict.text)
        elif conflict.service in services:
            yield Complaint(path=("services", services[conflict.service]), text=conflict.text)


# --- contradictions


def conflicts(rules: Mapping[str, Rule], services: Iterable[Service]) -> Iterator[Conflict]:
    """Every smallest set of rules, with a service or without, that can not hold together; by the rules' names."""
    in_order = [rule for _, rule in sorted(rules.items())]
    service_of = {vm: service.name for service in services for vm in service.members}
    yield from _apart_in_a_service(in_order, service_of)
    yield from _together_and_apart(in_order)
    yield from _on_and_off(in_order, service_of)


def _apart_in_a_service(rules: Iterable[Rule], service_of: Mapping[str, str]) -> Iterator[Conflict]:
    for rule in rules:
        first: dict[str, str] = {}
        for vm in rule.apart if rule.hard else ():
            service = service_of.get(vm)
            if service is None:
                continue
            if (other := first.setdefault(service, vm)) != vm:
                text = (
                    f"rule {rule.name} keeps {other} and {vm} apart, and service {service} keeps them on one node "
                    "(accepted: at most one vm of a service in a hard rule of vms apart)"
                )
                yield Conflict(rules=(rule.name,), text=text, service=service)
                break


def _together_and_apart(rules: Iterable[Rule]) -> Iterator[Conflict]:
    apart: dict[str, list[str]] = {}
    for rule in rules:
        for vm in rule.apart:
            apart.setdefault(vm, []).append(rule.name)
    for rule in rules:
        shared: dict[str, str] = {}  # the first vm that both name
        for vm in rule.together:
            for other in apart.get(vm, ()):
                if (first := shared.setdefault(other, vm)) not in (vm, ""):
                    text = (
                        f"rule {rule.name} puts {first} and {vm} together, and rule {other} keeps them apart "
                        "(accepted: one of the two)"
                    )
                    yield Conflict(rules=(rule.name, other), text=text)
                    shared[other] = ""


def _on_and_off(rules: Iterable[Rule], service_of: Mapping[str, str]) -> Iterator[Conflict]:
    """Of one vm, or of vms of one service where the rules are hard: they are on one node."""
    about: dict[tuple[str, str], list[tuple[Rule, str]]] = {}
    for rule in rules:
        for vm in rule.vms:
            about.setdefault(("vm", vm), []).append((rule, vm))
            if rule.hard and vm in service_of:
                about.setdefault(("service", service_of[vm]), []).append((rule, vm))
    told: set[tuple[str, str]] = set()
    for (kind, name), found in sorted(about.items(), key=lambda item: item[0][0] != "vm"):
        for (one, vm), (two, other) in combinations(found, 2):
            if (one.name, two.name) in told or not (words := _clash(one, two)):
                continue
            told.add((one.name, two.name))
            whose = "" if vm == other else f", and service {name} keeps them on one node"
            text = f"rule {one.name} wants {vm} {words[0]}, rule {two.name} wants {other} {words[1]}{whose}"
            service = name if kind == "service" else ""
            yield Conflict(rules=(one.name, two.name), text=f"{text} (accepted: one of the two)", service=service)


def _clash(one: Rule, two: Rule) -> tuple[str, str] | None:
    """Where each wants its vm, if no node can be both. Two soft wishes for different values are no contradiction."""
    for label, value in sorted(one.on.items()):
        if two.off.get(label) == value:
            return f"on {label}={value}", f"off {label}={value}"
        if one.hard and two.hard and (wanted := two.on.get(label, value)) != value:
            return f"on {label}={value}", f"on {label}={wanted}"
    for label, value in sorted(one.off.items()):
        if two.on.get(label) == value:
            return f"off {label}={value}", f"on {label}={value}"
    return None
