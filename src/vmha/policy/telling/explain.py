"""States and reasons in words, for status, listings and ``vm why``: derived from the snapshot, stored nowhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from vmha.model.digest import digest
from vmha.model.ids import Epoch, NodeName, VmName
from vmha.model.migration import MigrationProgress, Moved
from vmha.model.records import Candidate, Health, HealthState, Observation, Phase, Placement, SeenState
from vmha.model.vm import Desired, VmSpec
from vmha.policy.at_node.paused import HUNG, in_words
from vmha.policy.members.membership import Condition, Verdict
from vmha.policy.state.hands_off import FROZEN, PAUSED
from vmha.policy.state.reservation import memory_of
from vmha.policy.state.snapshot import Snapshot, VmView
from vmha.policy.telling.proofs import proofs_awaited

WAITING_RULES = (
    "no-node-can-take-it",
    "room-is-made-for-it",
    "enough-at-once",
    "its-whereabouts-are-unknown",
    "it-ends-again-and-again",
    "what-it-needs-is-not-ready",
    "frozen-until-its-host-is-back",
    FROZEN,
    PAUSED,
)


class VmState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    STARTING = "starting"
    STOPPING = "stopping"
    MIGRATING = "migrating"
    UNKNOWN = "unknown"  # its node is suspected to be lost: nobody can say now
    RECOVERING = "recovering"  # its node is lost; waits for proof or for a node
    WAITING = "waiting"  # wanted running, and no node can take it now
    STOPPED = "stopped"
    DISABLED = "disabled"
    DEPARTED = "departed"
    UNMANAGED = "unmanaged"  # seen on a node, not defined in the cluster
    DUPLICATE = "duplicate"  # seen running on more than one node, or more than once on one


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSummary:
    """One line of a listing. ``node``: where it runs or is on its way to; ``last_node`` where it ran."""

    name: VmName
    state: VmState
    desired: Desired | None
    node: NodeName | None
    epoch: Epoch
    reason: str
    target: NodeName | None = None
    last_node: NodeName | None = None
    rule: str = ""
    cause: str = ""
    since: float = 0.0
    candidates: tuple[Candidate, ...] = ()
    failover_domain: str | None = None
    memory_mib: int = 0
    progress: str = ""
    health: HealthState | None = None  # None: it has no probes, or nobody knows
    health_text: str = ""
    migration: MigrationProgress | None = None
    moved: Moved | None = None
    frozen: str = ""  # by whom and why
    needs_restart: bool = False  # it runs by another definition than it has now


def summarize(vm: VmView, snapshot: Snapshot, verdicts: dict[NodeName, Verdict]) -> VmSummary:
    placement = vm.placement.value if vm.placement else None
    spec = vm.spec.value if vm.spec else None
    seen = snapshot.observations(vm)
    state = _state(vm, seen, snapshot, verdicts)
    health: Health | None = None
    under_way: MigrationProgress | None = None
    progress = ""
    for one in reversed(seen):
        health = one.health if placement and one.node == placement.node else health
        under_way, progress = one.migration or under_way, one.progress or progress
    node = placement.node if placement else None
    if placement is None and seen:
        node = seen[0].node
    return VmSummary(
        name=vm.name,
        state=state,
        desired=spec.desired if spec else None,
        node=node if state not in (VmState.STOPPED, VmState.DISABLED) else None,
        target=placement.target if placement else None,
        last_node=placement.last_node if placement else None,
        epoch=placement.epoch if placement else Epoch(0),
        reason=_reason(vm, state, verdicts, snapshot),
        rule=placement.reason.rule if placement else "",
        cause=placement.reason.cause if placement else "",
        since=placement.since if placement else 0.0,
        candidates=placement.reason.candidates if placement else (),
        failover_domain=spec.failover_domain if spec else None,
        memory_mib=memory_of(spec, placement) if spec else 0,
        health=health.state if health else None,
        health_text=health.text if health else "",
        progress=progress or (str(under_way) if under_way else ""),
        migration=under_way,
        moved=placement.moved if placement else None,
        frozen=vm.freeze.value.in_words if vm.freeze else "",
        needs_restart=needs_restart(spec, placement) if spec and placement else False,
    )


def needs_restart(spec: VmSpec, placement: Placement) -> bool:
    """Its definition was changed while it runs, and counts from its next start on.

    Not known where a node reads the definition at each start, nor of a guest that was found running.
    """
    is_running = placement.phase in (Phase.HELD, Phase.MIGRATING) or placement.arrival
    return is_running and bool(spec.xml and placement.definition) and digest(spec.xml) != placement.definition


def vm_state(vm: VmView, snapshot: Snapshot, verdicts: dict[NodeName, Verdict]) -> VmState:
    """One word. An observation counts only when a living session made it."""
    return _state(vm, snapshot.observations(vm), snapshot, verdicts)


def _state(vm: VmView, seen: Sequence[Observation], snapshot: Snapshot, verdicts: dict[NodeName, Verdict]) -> VmState:
    running = 0
    for one in seen:  # of ten thousand vms that are looked at, hardly any is seen twice
        running += one.state is SeenState.RUNNING
        if one.also_running:
            return VmState.DUPLICATE
    if running > 1 and not _is_moving(vm):
        return VmState.DUPLICATE
    if vm.spec is None:
        return VmState.UNMANAGED
    placement = vm.placement.value if vm.placement else None
    wanted = vm.spec.value.desired
    if placement is None or placement.phase is Phase.STOPPED:
        if wanted is Desired.RUNNING:
            return VmState.WAITING if placement and placement.reason.rule in WAITING_RULES else VmState.STARTING
        return VmState.DISABLED if wanted is Desired.DISABLED else VmState.STOPPED
    match placement.phase:
        case Phase.DEPARTED:
            return VmState.DEPARTED
        case Phase.STOPPING:
            state = VmState.STOPPING
        case Phase.MIGRATING:
            state = VmState.MIGRATING
        case Phase.ASSIGNED:
            return VmState.MIGRATING if placement.arrival else VmState.STARTING
        case _:
            here = next((one for one in seen if one.node == placement.node), None)
            state = _held_state(here.state if here else None)
            if state is VmState.RUNNING and here and here.health and here.health.gated:
                state = VmState.STARTING
    verdict = verdicts.get(placement.node) if placement.node else None
    lost = verdict is None or verdict.condition in (Condition.LOST, Condition.OFFLINE, Condition.FENCING)
    node = snapshot.nodes.get(placement.node) if placement.node else None
    if lost or (node and node.session_id != placement.session):
        return VmState.RECOVERING
    if verdict and verdict.condition is Condition.SUSPECT and state is not VmState.MIGRATING:
        return VmState.UNKNOWN
    return state


def _is_moving(vm: VmView) -> bool:
    return vm.placement is not None and (
        vm.placement.value.phase is Phase.MIGRATING
        or (vm.placement.value.phase is Phase.ASSIGNED and vm.placement.value.arrival)
    )


def _held_state(seen: SeenState | None) -> VmState:
    match seen:
        case SeenState.RUNNING:
            return VmState.RUNNING
        case SeenState.PAUSED | SeenState.OUTGOING:
            return VmState.PAUSED
        case SeenState.STOPPING:
            return VmState.STOPPING
        case _:
            return VmState.STARTING


def _is_silent(vm: VmView, placement: Placement | None) -> bool:
    seen = vm.seen.get(placement.node) if placement and placement.node else None
    return seen is not None and seen.silent


def _by(placement: Placement, snapshot: Snapshot) -> str:
    view = snapshot.nodes.get(placement.node) if placement.node else None
    return f", by {'; or '.join(proofs_awaited(view, placement.session, snapshot))}" if view else ""


def _reason(vm: VmView, state: VmState, verdicts: dict[NodeName, Verdict], snapshot: Snapshot) -> str:
    placement = vm.placement.value if vm.placement else None
    match state:
        case VmState.UNMANAGED:
            return "seen on a node, not defined in the cluster"
        case VmState.STOPPED | VmState.DISABLED:
            assert vm.spec
            return vm.spec.value.desired_why or (placement.reason.text if placement else "never started")
        case VmState.RECOVERING if placement and placement.reason.rule not in WAITING_RULES:
            verdict = verdicts.get(placement.node) if placement.node else None
            said = verdict.refusal if verdict and verdict.refusal else "has a new session"
            return f"{placement.node} {said}: waiting for proof that it does not run there{_by(placement, snapshot)}"
        case VmState.UNKNOWN if placement:
            waits = "waiting for a beat, or for proof that it does not run there"
            return f"{placement.node} is suspected to be lost: {waits}{_by(placement, snapshot)}"
        case VmState.PAUSED if placement and vm.spec and placement.node and placement.node in vm.seen:
            return in_words(vm.spec.value.on_pause, vm.seen[placement.node].reason)
        case VmState.RUNNING if vm.spec and _is_silent(vm, placement):
            return in_words(vm.spec.value.on_pause, HUNG)
        case VmState.DEPARTED if placement:
            return placement.ended_why
        case VmState.MIGRATING if placement and placement.switched:
            at_target = f"it goes on at {placement.target} by post-copy, and fetches its memory from {placement.node}"
            return f"{placement.reason.text}; {at_target}"
        case _:
            return placement.reason.text if placement else "not placed yet"
