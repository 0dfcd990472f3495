"""What is supposed of a cluster: a snapshot as it would be found. Pure; the real one stays as it is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, assert_never

from vmha.model.ids import NodeName, SessionId, VmName
from vmha.model.records import (
    FenceRecord,
    Stored,
)
from vmha.model.settings import Proof
from vmha.model.vm import Desired, NodeSpec
from vmha.policy.state.snapshot import NodeView, Snapshot, VmView

T = TypeVar("T")
M = TypeVar("M")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLost:
    """Its session is over, with proof."""

    node: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDrained:
    node: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeUndrained:
    node: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class VmWanted:
    """Its desired state is another."""

    vm: VmName
    desired: Desired


Supposition = NodeLost | NodeDrained | NodeUndrained | VmWanted


def suppose(snapshot: Snapshot, what: Supposition) -> Snapshot:
    """The cluster as it would be found. What is supposed of a node or vm that is not known changes nothing."""
    match what:
        case NodeLost():
            view = snapshot.nodes.get(what.node)
            return snapshot if view is None else lose(snapshot, view)
        case NodeDrained() | NodeUndrained():
            node = snapshot.nodes.get(what.node)
            if node is None:
                return snapshot
            old = node.spec or stored(NodeSpec(name=what.node), snapshot)
            drained = isinstance(what, NodeDrained)
            spec = old.value.model_copy(update={"maintenance": drained, "maintenance_why": ""})
            new = replace(node, spec=replace(old, value=spec))
            return replace(snapshot, nodes=with_(snapshot.nodes, node.name, new))
        case VmWanted():
            vm = snapshot.vms.get(what.vm)
            return snapshot if vm is None else want(snapshot, vm, what.desired)
    assert_never(what)


def lose(snapshot: Snapshot, view: NodeView) -> Snapshot:
    """Its present session ends with proof; so do those before it whose claims are still on record."""
    proofs = dict(snapshot.fenced)
    for vm in snapshot.vms.values():
        held = vm.placement.value if vm.placement else None
        if held and held.node == view.name and held.session:
            proofs[held.session] = proof_of(view.name, held.session, Proof.GUARD_ELAPSED, "supposed")
    if view.session_id:
        proofs[view.session_id] = proof_of(view.name, view.session_id, Proof.GUARD_ELAPSED, "supposed")
    lost = replace(view, beat=None, session=None, fencing=None)
    return replace(snapshot, nodes=with_(snapshot.nodes, view.name, lost), fenced=proofs)


def want(snapshot: Snapshot, vm: VmView, desired: Desired) -> Snapshot:
    if vm.spec is None:
        return snapshot
    spec = replace(vm.spec, value=vm.spec.value.model_copy(update={"desired": desired, "desired_why": ""}))
    return replace(snapshot, vms=with_(snapshot.vms, vm.name, replace(vm, spec=spec)))


def proof_of(node: NodeName, session: SessionId, proof: Proof, how: str) -> FenceRecord:
    return FenceRecord(session=session, node=node, proof=proof, how=how, at=0.0, by=node)


def stored(value: T, snapshot: Snapshot) -> Stored[T]:
    return Stored(value, snapshot.revision, snapshot.revision)


def with_(mapping: Mapping[Any, M], key: Any, value: M) -> dict[Any, M]:
    return {**mapping, key: value}


def without(mapping: Mapping[Any, M], key: Any) -> dict[Any, M]:
    return {name: value for name, value in mapping.items() if name != key}
