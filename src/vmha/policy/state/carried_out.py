"""A step carried out in the mind: the cluster after it and all that follows from it, as if everything succeeded."""

from dataclasses import replace
from typing import assert_never

from vmha.model.ids import NodeName, Revision
from vmha.model.records import (
    FenceStage,
    Observation,
    Phase,
    Placement,
    RunEnd,
    SeenState,
)
from vmha.model.schema import ClusterSchema
from vmha.policy.state import transitions
from vmha.policy.state.snapshot import NodeView, Snapshot, VmView
from vmha.policy.state.steps import (
    AnswerRequest,
    Change,
    EvictSession,
    FenceNode,
    ForgetProof,
    ForgetRemoved,
    ForgetRequest,
    GiveBackStorage,
    PlacementStep,
    PowerOn,
    RaiseSchema,
    RememberRemoved,
    SettleDesired,
    SettleHistory,
    SettlePower,
    Step,
    WriteHold,
)
from vmha.policy.state.supposing import lose, proof_of, stored, want, with_, without


def carry_out(snapshot: Snapshot, step: Step, *, wall: float) -> Snapshot:
    """The cluster after a step and all that follows from it: what is assigned runs, what migrates has arrived."""
    revision = Revision(snapshot.revision + 1)
    snapshot = replace(snapshot, revision=revision)
    match step:
        case PlacementStep():
            done = _place(snapshot, step, wall)
            return _settle(done, step.settle) if step.settle else done
        case SettleDesired():
            return _settle(snapshot, step)
        case FenceNode():
            view = snapshot.nodes.get(step.node)
            return lose(snapshot, view) if view and view.session_id == step.session else snapshot
        case EvictSession():
            proofs = dict(snapshot.fenced)
            for session in (step.session, *step.former):
                proofs[session] = proof_of(step.node, session, step.proof, step.how)
            view = snapshot.nodes.get(step.node)
            nodes = snapshot.nodes
            if view and view.session_id == step.session:
                nodes = with_(nodes, step.node, replace(view, beat=None, session=None, fencing=None))
            return replace(snapshot, fenced=proofs, nodes=nodes)
        case GiveBackStorage():
            view = snapshot.nodes[step.node]
            return replace(snapshot, nodes=with_(snapshot.nodes, step.node, replace(view, fencing=None)))
        case PowerOn() | SettlePower():
            return replace(snapshot, nodes=with_(snapshot.nodes, step.node, _power(snapshot.nodes[step.node], step)))
        case SettleHistory():
            return replace(snapshot, history=stored(step.record, snapshot))
        case RaiseSchema():
            record = ClusterSchema(version=step.version, by=NodeName(""), at=wall)
            return replace(snapshot, schema_record=stored(record, snapshot))
        case AnswerRequest():
            answered = with_(snapshot.outcomes, step.outcome.request, step.outcome)
            return replace(snapshot, outcomes=answered)
        case ForgetRequest():
            return replace(
                snapshot,
                requests=without(snapshot.requests, step.request),
                outcomes=without(snapshot.outcomes, step.request),
            )
        case ForgetProof():
            return replace(snapshot, fenced=without(snapshot.fenced, step.session))
        case RememberRemoved():
            old = snapshot.removed.get(step.record.id)
            new = replace(old, value=step.record, modified=revision) if old else stored(step.record, snapshot)
            return replace(snapshot, removed=with_(snapshot.removed, step.record.id, new))
        case ForgetRemoved():
            return replace(snapshot, removed=without(snapshot.removed, step.id))
        case WriteHold():
            hold = stored(step.hold, snapshot) if step.hold else None
            if step.vm is None:
                return replace(snapshot, pause=hold)
            frozen = with_(snapshot.frozen, step.vm, hold) if hold else without(snapshot.frozen, step.vm)
            vm = replace(snapshot.vms.get(step.vm) or VmView(name=step.vm), freeze=hold)
            return replace(snapshot, frozen=frozen, vms=with_(snapshot.vms, step.vm, vm))
    assert_never(step)


def _place(snapshot: Snapshot, step: PlacementStep, wall: float) -> Snapshot:
    old = snapshot.vms.get(step.vm) or VmView(name=step.vm)
    if step.placement is None:
        view = replace(old, placement=None)
        gone = view.spec is None and not view.seen
        return replace(snapshot, vms=without(snapshot.vms, step.vm) if gone else with_(snapshot.vms, step.vm, view))
    new = _completed(step.placement, snapshot, wall)
    seen: dict[NodeName, Observation] = {}
    if new.node and new.session and new.phase is Phase.HELD:
        seen[new.node] = Observation(
            vm=step.vm, node=new.node, session=new.session, state=SeenState.RUNNING, epoch=new.epoch
        )
    elif step.change is Change.NOTE:
        seen = dict(old.seen)
    kept = replace(old, placement=stored(new, snapshot), seen=seen)
    return replace(snapshot, vms=with_(snapshot.vms, step.vm, kept))


def _power(view: NodeView, step: PowerOn | SettlePower) -> NodeView:
    assert view.fencing
    new = replace(view.fencing.value, stage=FenceStage.ON) if isinstance(step, PowerOn) else step.record
    return replace(view, fencing=replace(view.fencing, value=new) if new else None)


def _completed(placement: Placement, snapshot: Snapshot, wall: float) -> Placement:
    """What its nodes make of it."""
    if placement.phase is Phase.MIGRATING:
        placement = transitions.hand_over(placement, wall)
    if placement.phase is Phase.ASSIGNED:
        node = snapshot.nodes.get(placement.node) if placement.node else None
        if node is not None and node.session_id is not None:
            placement = transitions.claim(placement, node.session_id, wall)
    if placement.phase is Phase.STOPPING:
        placement = transitions.release(placement, RunEnd.ASKED, "as asked", wall)
    return placement


def _settle(snapshot: Snapshot, step: SettleDesired) -> Snapshot:
    vm = snapshot.vms.get(step.vm)
    if vm is None:
        return snapshot
    if step.acknowledged:
        vm = replace(vm, placement=stored(step.acknowledged[1], snapshot))
    return want(snapshot, vm, step.desired)
