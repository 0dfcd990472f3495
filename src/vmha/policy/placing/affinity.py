"""Placement rules at work (model/rules.py): which nodes they refuse a vm, and which they prefer.

* A hard rule refuses nodes, for a start, a recovery, a drain, failback and whatever is asked for. It never moves a vm
  that runs, nor ends one: what a hand or an edit has brought about is told (telling/explain_rules.py) and left alone.
* A soft rule ranks the nodes that a failover domain does not tell apart, before the number of vms does. It moves
  nothing either, and keeps nothing down.
* A vm on its way counts at both ends, one that was found running where it was found, and what this plan has placed
  where it is to go: so of one plan's steps none needs another one to have happened.
* The vms of a service go where the first of them goes: a node that a hard rule refuses one of them takes none.
* A vm that a rule names and that is not defined (any more) is passed over.

Read once in each plan, and only when a vm is to be placed.
"""

from collections.abc import Iterable
from dataclasses import replace

from vmha.model.ids import NodeName, VmName
from vmha.model.vm import VmSpec
from vmha.policy.placing.field import Field
from vmha.policy.placing.rule_book import Affinity, Counted, places_of, read_rules
from vmha.policy.placing.services import followers
from vmha.policy.placing.ties import Ties
from vmha.policy.state.snapshot import Snapshot

BY_RULE = ", which rule "
"""Stands in every refusal by a rule."""


def rules_of(ground: Field) -> Affinity:
    ties = ground.ties
    if ties.affinity is None:
        ties.affinity = read_rules(ground.snapshot)
    return ties.affinity


def took(name: str, node: NodeName, ground: Field) -> None:
    """This plan sends it there."""
    known = rules_of(ground)
    for counted in (*known.hard.get(VmName(name), ()), *known.soft.get(VmName(name), ())):
        if not counted.rule.vms:
            counted.count(VmName(name), node)


def left(name: str, node: NodeName, ground: Field) -> None:
    """It is not to go there after all; what it has there still stays there (room/given_back.py)."""
    if node in places_of(ground.snapshot.vms[VmName(name)], ground.snapshot):
        return
    for counted in rules_of(ground).hard.get(VmName(name), ()):
        if not counted.rule.vms:
            counted.at.get(node, set()).discard(VmName(name))
            if not any(VmName(name) in there for there in counted.at.values()):
                counted.placed.discard(VmName(name))


def never_beside(name: VmName, ground: Field) -> set[VmName]:
    """Those that a hard rule keeps apart from it."""
    if not ground.snapshot.rules:
        return set()
    rules = [counted.rule for counted in rules_of(ground).hard.get(name, ())]
    return {VmName(other) for rule in rules if rule.apart for other in rule.apart if other != name}


def ties_without(names: Iterable[VmName], ground: Field) -> Ties:
    """As if these had left: for the vm that would take the place of one of them (policy/deciding/displace.py)."""
    if not ground.snapshot.rules:
        return ground.ties
    return replace(ground.ties, affinity=read_rules(ground.snapshot, without=names))


def forbidden(node: NodeName, spec: VmSpec, ground: Field) -> str:
    """Why a hard rule keeps the vm, or one that is to follow it, from ``node``; '' when none does."""
    hard, name = rules_of(ground).hard, VmName(spec.name)
    for counted in hard.get(name, ()):
        if words := _against(counted, name, node, ground.snapshot):
            return words
    if hard and ground.ties.member_of:
        for follower in followers(node, spec, ground):
            for counted in hard.get(VmName(follower.name), ()):
                if words := _against(counted, VmName(follower.name), node, ground.snapshot):
                    return f"{words}, and that is to follow {name}"
    return ""


def _against(counted: Counted, name: VmName, node: NodeName, snapshot: Snapshot) -> str:
    rule = counted.rule
    if rule.vms:
        words = counted.misfit(node, snapshot)
        return f"{words}{BY_RULE}{rule.name} asks for {name}" if words else ""
    if not rule.apart or not counted.beside(name, node):
        return ""
    other = min(vm for vm in counted.at[node] if vm != name)
    return f"runs {other}{BY_RULE}{rule.name} keeps apart from {name}"


def has_soft_rules(spec: VmSpec, ground: Field) -> bool:
    """Are nodes to be told apart for it by more than how much they carry?"""
    return bool(ground.snapshot.rules) and VmName(spec.name) in rules_of(ground).soft


def unmet(node: NodeName, spec: VmSpec, ground: Field) -> int:
    """How much on ``node`` goes against the vm's soft rules: the vms it is to be apart from and those it would leave
    elsewhere, each counted, and each rule whose labels do not fit."""
    name = VmName(spec.name)
    return sum(_unmet(counted, name, node, ground.snapshot) for counted in rules_of(ground).soft.get(name, ()))


def _unmet(counted: Counted, name: VmName, node: NodeName, snapshot: Snapshot) -> int:
    if counted.rule.vms:
        return bool(counted.misfit(node, snapshot))
    return counted.beside(name, node) if counted.rule.apart else counted.elsewhere(name, node)


def preferred_by(node: NodeName, spec: VmSpec, others: Iterable[NodeName], ground: Field) -> str:
    """The soft rules that speak for ``node`` against one of ``others``, by name; '' when none does."""
    if not ground.snapshot.rules:
        return ""
    name, rest, snapshot = VmName(spec.name), list(others), ground.snapshot
    return ", ".join(
        counted.rule.name
        for counted in rules_of(ground).soft.get(name, ())
        if any(_unmet(counted, name, other, snapshot) > _unmet(counted, name, node, snapshot) for other in rest)
    )
