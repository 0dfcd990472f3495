"""What would leave vms no node is refused where it is asked for: rule, service, failover domain, vm, document.

Only what the change itself makes impossible: what a cluster that has lost a node or a label can not keep any more
stands in the way of nothing else, and is told by ``vmha status``. What is said of a node by itself (``vmha node
label``, ``remove``) is how the world is, and refused by nothing; a document is judged with the nodes that it names.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from vmha.model.errors import Rejected
from vmha.model.rules import Rule
from vmha.model.service import Service
from vmha.model.vm import FailoverDomain, VmSpec
from vmha.operator.document import ClusterDocument
from vmha.operator.yaml_source import Complaint, Path
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.no_node_left import Layout, NoNodeLeft, no_node_left

T = TypeVar("T", Rule, Service, FailoverDomain)


def check_places(snapshot: Snapshot, changed: Rule | Service | FailoverDomain | VmSpec) -> None:
    """Raises: Rejected when what is to be so from now on leaves a vm no node."""
    before = Layout.of(snapshot)
    for one in no_node_left(_with(before, changed), before):
        raise Rejected(one.text)


def _with(before: Layout, changed: Rule | Service | FailoverDomain | VmSpec) -> Layout:
    match changed:
        case Rule():
            return replace(before, rules={**before.rules, changed.name: changed})
        case Service():
            return replace(before, services={**before.services, changed.name: changed})
        case FailoverDomain():
            return replace(before, domains={**before.domains, changed.name: changed})
        case VmSpec():
            return replace(before, vms={**before.vms, changed.name: changed.failover_domain})


def wrong_places(
    document: ClusterDocument, snapshot: Snapshot, specs: Mapping[str, VmSpec], stay: Collection[str], *, prune: bool
) -> Iterator[Complaint]:
    """The same of a document. ``specs``: of its vms; ``stay``: vms of the cluster that are left beside them."""
    before = Layout.of(snapshot)
    then = Layout(
        nodes=_nodes(document, snapshot, before, prune=prune),
        domains=_merged(before.domains, document.failover_domains, prune=prune),
        rules=_merged(before.rules, document.rules, prune=prune),
        services=_merged(before.services, document.services, prune=prune),
        vms={name: domain for name, domain in before.vms.items() if name in stay}
        | {name: spec.failover_domain for name, spec in specs.items()},
    )
    for one in no_node_left(then, before):
        yield Complaint(path=_where(one, document), text=one.text)


def _merged(before: Mapping[str, T], given: Collection[T] | None, *, prune: bool) -> dict[str, T]:
    kept = {} if prune and given is not None else dict(before)
    return kept | {one.name: one for one in given or ()}


def _nodes(
    document: ClusterDocument, snapshot: Snapshot, before: Layout, *, prune: bool
) -> dict[str, Mapping[str, str]]:
    kept = dict(before.nodes)
    if prune and document.nodes is not None:
        # What is said of a node is forgotten, not the node, if that has said anything itself.
        kept = {name: {} for name, view in snapshot.nodes.items() if view.status or view.beat or view.session}
    return kept | {node.name: node.labels for node in document.nodes or ()}


def _where(one: NoNodeLeft, document: ClusterDocument) -> Path:
    """In the document; what is more particular first."""
    sections: tuple[tuple[str, Collection[Any] | None, tuple[str, ...]], ...] = (
        ("rules", document.rules, one.rules),
        ("services", document.services, one.services),
        ("failover_domains", document.failover_domains, one.domains),
        ("vms", document.vms, one.vms),
    )
    for section, given, names in sections:
        if places := [place for place, item in enumerate(given or ()) if item.name in names]:
            return (section, places[-1])
    return ("nodes",)
