"""When the cluster's schema is raised, and who is too old for it (model/schema.py says what it is).

It is raised to the newest version that all members read, as their sessions say. A member is every node that has ever
published a status and was not removed since: one that is away might come back with an agent that does not read it. A
node that is only defined has had no agent, and is waited for by nobody.

Nothing is raised while the store may be of the past (``restored.hold_back``), and nothing is ever lowered.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from vmha.model.ids import NodeName, Revision
from vmha.model.schema import Software
from vmha.policy.state.snapshot import NodeView, Snapshot
from vmha.policy.state.steps import RaiseSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaStanding:
    """``version``: the cluster's. ``next``: what some member reads, if that is later; else the same.

    ``waits_for``: members that keep it from getting there, and why. ``too_old``: those that do not read ``version``.
    """

    version: int
    next: int
    waits_for: tuple[tuple[NodeName, str], ...] = ()
    too_old: tuple[tuple[NodeName, str], ...] = ()


def standing(snapshot: Snapshot) -> SchemaStanding:
    """How far the upgrade of the cluster is."""
    version = snapshot.schema
    reads = dict(_members(snapshot))
    newest = max((each.reads for each in reads.values() if each is not None), default=version)
    newest = max(newest, version)
    waits = tuple(
        (node, f"vmha {each.version} reads up to {each.reads}" if each else "is not here")
        for node, each in reads.items()
        if each is None or each.reads < newest
    )
    too_old = tuple((node, why) for node, each in reads.items() if each and (why := each.why_too_old(version)))
    return SchemaStanding(version=version, next=newest, waits_for=waits if newest > version else (), too_old=too_old)


def raise_schema(snapshot: Snapshot) -> list[RaiseSchema]:
    """To what all members read, the leader among them, if that is later than what the cluster is at."""
    leader = snapshot.nodes.get(snapshot.leader.value.node) if snapshot.leader else None
    own = _software(leader) if leader else None
    if own is None or own.reads <= snapshot.schema or snapshot.is_unreadable("schema"):
        return []  # the others need not be asked, plan after plan
    reads = [each.reads if each else 0 for _, each in _members(snapshot)]
    to = min(own.reads, *reads)
    if to <= snapshot.schema:
        return []
    text = f"all {len(reads)} members read schema {to}: the cluster goes from {snapshot.schema} to {to}, for good"
    expected = snapshot.schema_record.modified if snapshot.schema_record else Revision(0)
    return [RaiseSchema(version=to, expected=expected, text=text)]


def in_words(found: SchemaStanding) -> Iterator[str]:
    """What an operator has to know of it: nothing, when all members are of one kind."""
    for node, why in found.too_old:
        yield f"node {node} only keeps its session, and nothing is started, stopped or moved there: {why}"
    if found.waits_for:
        who = ", ".join(f"{node} ({why})" for node, why in found.waits_for)
        yield f"the cluster stays at schema {found.version} until all members read {found.next}; waiting for {who}"


def _members(snapshot: Snapshot) -> Iterator[tuple[NodeName, Software | None]]:
    """Each member's software; None: it is not here, so nobody knows."""
    for name, view in sorted(snapshot.nodes.items()):
        if view.session or view.beat or view.status:
            yield name, _software(view)


def _software(view: NodeView) -> Software | None:
    if view.session is None or view.beat is None or view.session.value.session != view.beat.value.session:
        return None
    return Software(version=view.session.value.version, reads=view.session.value.reads)
