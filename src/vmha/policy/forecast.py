"""What would become of the cluster: plans carried out in the mind, one after another, until nothing is left to do.

The plans are the leader's own (``policy.plan``); only the world is imagined: every start, stop and migration succeeds,
at once, and every node that is lost is lost with proof. So a forecast says where vms would go and what would not fit,
not how long it takes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, assert_never

from vmha.model.ids import NodeName, Revision, SessionId, VmName
from vmha.model.records import (
    FenceRecord,
    Observation,
    Phase,
    Placement,
    Reason,
    RunEnd,
    SeenState,
    Stored,
)
from vmha.model.settings import Proof
from vmha.model.vm import Desired, NodeSpec
from vmha.policy import transitions
from vmha.policy.plan import judge_all, plan
from vmha.policy.snapshot import Moment, NodeView, Snapshot, VmView
from vmha.policy.steps import (
    AnswerRequest,
    Change,
    EvictSession,
    FenceNode,
    ForgetProof,
    ForgetRemoved,
    ForgetRequest,
    GiveBackStorage,
    PlacementStep,
    RememberRemoved,
    SettleDesired,
    SettleHistory,
    Step,
    Waiting,
    WriteHold,
)

HORIZON_S = 3600.0
"""So far ahead is looked for what only waits for time to pass: a rest, a delay."""

MOST_ROUNDS = 1000

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One change of one vm. ``source`` and ``target`` are where it ran before and runs after; None: nowhere.

    ``is_live``: its guest goes on.
    """

    vm: VmName
    change: Change
    source: NodeName | None
    target: NodeName | None
    reason: Reason
    is_live: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """``down``: vms that are wanted running and would not run in the end, each with what it would wait for.

    ``ends``: nothing would be left to do; else it was given up after ``MOST_ROUNDS`` plans.
    """

    moves: tuple[Move, ...]
    down: tuple[Waiting, ...]
    ends: bool
    then: Snapshot


def suppose(snapshot: Snapshot, what: Supposition) -> Snapshot:
    """The cluster as it would be found. What is supposed of a node or vm that is not known changes nothing."""
    match what:
        case NodeLost():
            view = snapshot.nodes.get(what.node)
            return snapshot if view is None else _lose(snapshot, view)
        case NodeDrained() | NodeUndrained():
            node = snapshot.nodes.get(what.node)
            if node is None:
                return snapshot
            old = node.spec or _stored(NodeSpec(name=what.node), snapshot)
            drained = isinstance(what, NodeDrained)
            spec = old.value.model_copy(update={"maintenance": drained, "maintenance_why": ""})
            new = replace(node, spec=replace(old, value=spec))
            return replace(snapshot, nodes=_with(snapshot.nodes, node.name, new))
        case VmWanted():
            vm = snapshot.vms.get(what.vm)
            return snapshot if vm is None else _want(snapshot, vm, what.desired)
    assert_never(what)


def foresee(snapshot: Snapshot, moment: Moment, *, horizon_s: float = HORIZON_S) -> Forecast:
    """Plan and carry out until a plan proposes nothing, and time brings nothing either.

    Args:
        snapshot: the cluster, with what is supposed of it.
        moment: now; time passes in the forecast only where nothing else can happen.
        horizon_s: how much of it at most.
    """
    moves: list[Move] = []
    passed_s, pause_s = 0.0, 1.0
    for _ in range(MOST_ROUNDS):
        made = plan(snapshot, moment)
        before = snapshot
        for step in made.steps:
            moves += _moves_of(step, snapshot)
            snapshot = carry_out(snapshot, step, wall=moment.wall)
        if _is_other(before, snapshot, made.steps):
            pause_s = 1.0
            continue
        if made.wake_in_s is None or passed_s >= horizon_s:
            return Forecast(moves=tuple(moves), down=tuple(_down(snapshot, made.waiting)), ends=True, then=snapshot)
        # Many wait and look again each second; looking with them would take a plan for every second of the hour.
        pause_s = min(max(made.wake_in_s, 2 * pause_s), horizon_s)
        passed_s += pause_s
        moment = replace(moment, now=moment.now + pause_s, wall=moment.wall + pause_s)
    made = plan(snapshot, moment)
    return Forecast(moves=tuple(moves), down=tuple(_down(snapshot, made.waiting)), ends=False, then=snapshot)


def losses(snapshot: Snapshot, moment: Moment) -> dict[NodeName, Forecast]:
    """The loss of each node that is there, one at a time."""
    online = [name for name, verdict in judge_all(snapshot, moment).items() if verdict.is_alive]
    return {node: foresee(suppose(snapshot, NodeLost(node=node)), moment) for node in online}


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
            return _lose(snapshot, view) if view and view.session_id == step.session else snapshot
        case EvictSession():
            proofs = dict(snapshot.fenced)
            for session in (step.session, *step.former):
                proofs[session] = _proof(step.node, session, step.proof, step.how)
            view = snapshot.nodes.get(step.node)
            nodes = snapshot.nodes
            if view and view.session_id == step.session:
                nodes = _with(nodes, step.node, replace(view, beat=None, session=None, fencing=None))
            return replace(snapshot, fenced=proofs, nodes=nodes)
        case GiveBackStorage():
            view = snapshot.nodes[step.node]
            return replace(snapshot, nodes=_with(snapshot.nodes, step.node, replace(view, fencing=None)))
        case SettleHistory():
            return replace(snapshot, history=_stored(step.record, snapshot))
        case AnswerRequest():
            answered = _with(snapshot.outcomes, step.outcome.request, step.outcome)
            return replace(snapshot, outcomes=answered)
        case ForgetRequest():
            return replace(
                snapshot,
                requests=_without(snapshot.requests, step.request),
                outcomes=_without(snapshot.outcomes, step.request),
            )
        case ForgetProof():
            return replace(snapshot, fenced=_without(snapshot.fenced, step.session))
        case RememberRemoved():
            old = snapshot.removed.get(step.record.id)
            new = replace(old, value=step.record, modified=revision) if old else _stored(step.record, snapshot)
            return replace(snapshot, removed=_with(snapshot.removed, step.record.id, new))
        case ForgetRemoved():
            return replace(snapshot, removed=_without(snapshot.removed, step.id))
        case WriteHold():
            hold = _stored(step.hold, snapshot) if step.hold else None
            if step.vm is None:
                return replace(snapshot, pause=hold)
            frozen = _with(snapshot.frozen, step.vm, hold) if hold else _without(snapshot.frozen, step.vm)
            vm = replace(snapshot.vms.get(step.vm) or VmView(name=step.vm), freeze=hold)
            return replace(snapshot, frozen=frozen, vms=_with(snapshot.vms, step.vm, vm))
    assert_never(step)


def _moves_of(step: Step, snapshot: Snapshot) -> list[Move]:
    if not isinstance(step, PlacementStep) or step.change in (Change.NOTE, Change.DISOWN, Change.DEPART):
        return []
    view = snapshot.vms.get(step.vm)
    before = view.placement.value if view and view.placement else None
    source = before.node if before and before.phase not in (Phase.STOPPED, Phase.DEPARTED) else None
    after = step.placement
    target = None
    if after is not None and after.phase not in (Phase.STOPPED, Phase.STOPPING):
        target = after.target or after.node
    is_live = step.change in (Change.MIGRATE, Change.ADOPT)
    return [Move(vm=step.vm, change=step.change, source=source, target=target, reason=step.reason, is_live=is_live)]


def _is_other(before: Snapshot, after: Snapshot, steps: Iterable[Step]) -> bool:
    """Something was done. The same proof, say, may be forgotten only once."""
    return any(True for _ in steps) and replace(after, revision=before.revision) != before


def _down(snapshot: Snapshot, waiting: Iterable[Waiting]) -> list[Waiting]:
    said = {one.vm: one for one in waiting}
    down = []
    for name, vm in sorted(snapshot.vms.items()):
        if vm.spec is None or vm.spec.value.desired is not Desired.RUNNING:
            continue
        if vm.placement is None or vm.placement.value.phase is not Phase.HELD or _is_lost(vm, snapshot):
            reason = vm.placement.value.reason.text if vm.placement else "it is not placed"
            down.append(said.get(name) or Waiting(vm=name, text=reason))
    return down


def _is_lost(vm: VmView, snapshot: Snapshot) -> bool:
    assert vm.placement
    held = vm.placement.value
    node = snapshot.nodes.get(held.node) if held.node else None
    return node is None or node.session_id != held.session


# --- what follows from a step


def _place(snapshot: Snapshot, step: PlacementStep, wall: float) -> Snapshot:
    old = snapshot.vms.get(step.vm) or VmView(name=step.vm)
    if step.placement is None:
        view = replace(old, placement=None)
        gone = view.spec is None and not view.seen
        return replace(snapshot, vms=_without(snapshot.vms, step.vm) if gone else _with(snapshot.vms, step.vm, view))
    new = _completed(step.placement, snapshot, wall)
    seen: dict[NodeName, Observation] = {}
    if new.node and new.session and new.phase is Phase.HELD:
        seen[new.node] = Observation(
            vm=step.vm, node=new.node, session=new.session, state=SeenState.RUNNING, epoch=new.epoch
        )
    elif step.change is Change.NOTE:
        seen = dict(old.seen)
    kept = replace(old, placement=_stored(new, snapshot), seen=seen)
    return replace(snapshot, vms=_with(snapshot.vms, step.vm, kept))


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
        vm = replace(vm, placement=_stored(step.acknowledged[1], snapshot))
    return _want(snapshot, vm, step.desired)


def _want(snapshot: Snapshot, vm: VmView, desired: Desired) -> Snapshot:
    if vm.spec is None:
        return snapshot
    spec = replace(vm.spec, value=vm.spec.value.model_copy(update={"desired": desired, "desired_why": ""}))
    return replace(snapshot, vms=_with(snapshot.vms, vm.name, replace(vm, spec=spec)))


def _lose(snapshot: Snapshot, view: NodeView) -> Snapshot:
    """Its present session ends with proof; so do those before it whose claims are still on record."""
    proofs = dict(snapshot.fenced)
    for vm in snapshot.vms.values():
        held = vm.placement.value if vm.placement else None
        if held and held.node == view.name and held.session:
            proofs[held.session] = _proof(view.name, held.session, Proof.GUARD_ELAPSED, "supposed")
    if view.session_id:
        proofs[view.session_id] = _proof(view.name, view.session_id, Proof.GUARD_ELAPSED, "supposed")
    lost = replace(view, beat=None, session=None, fencing=None)
    return replace(snapshot, nodes=_with(snapshot.nodes, view.name, lost), fenced=proofs)


def _proof(node: NodeName, session: SessionId, proof: Proof, how: str) -> FenceRecord:
    return FenceRecord(session=session, node=node, proof=proof, how=how, at=0.0, by=node)


def _stored(value: T, snapshot: Snapshot) -> Stored[T]:
    return Stored(value, snapshot.revision, snapshot.revision)


def _with(mapping: Mapping[Any, M], key: Any, value: M) -> dict[Any, M]:
    return {**mapping, key: value}


def _without(mapping: Mapping[Any, M], key: Any) -> dict[Any, M]:
    return {name: value for name, value in mapping.items() if name != key}
