"""Why a node is what it is: what it said last, what would end its guests, and which proof its vms wait for."""

from dataclasses import asdict, dataclass, field
from typing import Any

from vmha.model.ids import NodeName, SessionId, VmName
from vmha.model.records import ArmedLevel, FenceAttempt, FenceRecord
from vmha.model.vm import FenceRole
from vmha.operator.follow import in_words
from vmha.operator.nodes import find_node, vms_on
from vmha.policy.members.membership import Condition, devices_of, moment_of_one_reading
from vmha.policy.members.power_on import is_to_be_on, why_not_on
from vmha.policy.placing.placement import survey
from vmha.policy.plan import judge_all
from vmha.policy.state.snapshot import NodeView, Snapshot
from vmha.policy.telling.could_leave import Leave, could_leave
from vmha.policy.telling.explain import summarize
from vmha.policy.telling.left_overs import of_node
from vmha.policy.telling.proofs import in_full, proofs_awaited
from vmha.policy.telling.wait_ends import what_lets_it_in

_WAITING = (Condition.SUSPECT, Condition.LOST, Condition.FENCING)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWhy:
    """``waits_for`` is empty while nobody has to prove anything; ``proofs`` are on record for sessions of it.

    ``ends_when``: what would let it take vms again. ``notes``: what its guard and its agent say of how its guests are
    ended. ``doing``: what each of its vms is doing, in words. ``drain``: what a drain would do with each.
    ``stays_off``: why it is not switched on again for now, where that is on record as to be done.
    """

    name: NodeName
    condition: Condition
    refusal: str
    session: SessionId | None
    armed: ArmedLevel
    hold_s: float
    vms: tuple[str, ...]
    agents: tuple[str, ...]
    attempt: FenceAttempt | None
    waits_for: tuple[str, ...]
    proofs: tuple[FenceRecord, ...]
    remarks: tuple[str, ...] = ()
    may_receive: bool = False
    ends_when: str = ""
    notes: tuple[str, ...] = ()
    doing: dict[str, str] = field(default_factory=dict)
    drain: tuple[Leave, ...] = ()
    stays_off: str = ""


def why_node(snapshot: Snapshot, name: str, *, wall: float) -> NodeWhy:
    """Raises: UnknownName."""
    view = find_node(snapshot, name)
    moment = moment_of_one_reading(snapshot, wall=wall)
    verdicts = judge_all(snapshot, moment)
    verdict = verdicts[view.name]
    vms = tuple(vms_on(snapshot, name))
    session = view.session_id if verdict.condition in _WAITING else None
    waits = vms and (session or _has_unproven_claims(view, snapshot))
    proofs = sorted((one for one in snapshot.fenced.values() if one.node == name), key=lambda one: one.at)
    return NodeWhy(
        name=view.name,
        condition=verdict.condition,
        refusal=verdict.refusal,
        session=view.session_id,
        armed=view.beat.value.armed if view.beat else ArmedLevel.NONE,
        hold_s=view.beat.value.hold_s if view.beat else 0.0,
        vms=vms,
        agents=tuple(_agent(one.agent, one.role) for one in devices_of(view, snapshot)),
        attempt=view.fencing.value if view.fencing else None,
        waits_for=tuple(proofs_awaited(view, session, snapshot)) if waits else (),
        proofs=tuple(proofs),
        remarks=tuple(of_node(view.name, snapshot)),
        may_receive=verdict.may_receive,
        ends_when="" if verdict.may_receive else what_lets_it_in(view.name, verdict.condition),
        notes=view.current_status.notes if view.current_status else (),
        doing={vm: in_words(summarize(snapshot.vms[VmName(vm)], snapshot, verdicts)) for vm in vms},
        drain=could_leave(view.name, survey(snapshot, verdicts, wall)) if verdict.is_alive else (),
        stays_off=(why_not_on(view, snapshot) or "") if is_to_be_on(view) else "",
    )


def sentences(told: NodeWhy, *, wall: float) -> list[str]:
    """For people. Times are left to whoever prints them."""
    says_it_all = f"{told.refusal} ".startswith((f"is {told.condition} ", f"is in {told.condition} "))
    why = f": it {told.refusal}" if told.refusal else "; it may take vms"
    lines = [f"{told.name} {told.refusal}." if says_it_all else f"{told.name} is {told.condition}{why}."]
    if told.ends_when:
        lines.append(f"No vm goes there; that ends when {told.ends_when}.")
    lines.append(f"It holds {', '.join(told.vms)}." if told.vms else "It holds no vm.")
    lines += [f"There {words}." for words in told.doing.values()]
    if told.session is not None:
        ends = "nothing is armed to end its guests" if told.armed is ArmedLevel.NONE else _ends(told)
        lines.append(f"Its self-fence is {told.armed}: if it can not commit any more, {ends}.")
        lines += [f"Mind: {note}." for note in told.notes]
    lines.append(f"Fence agents: {', '.join(told.agents)}." if told.agents else "No fence agent is set for it.")
    if told.attempt:
        lines.append(f"Fencing: {in_full(told.attempt, wall)}.")
    if told.stays_off:
        lines.append(f"It is not switched on again: {told.stays_off}.")
    if told.waits_for:
        lines.append(f"Its vms wait for a proof, by {'; or '.join(told.waits_for)}.")
    lines += [f"On record for session {one.session}: {one.proof}, {one.how}." for one in told.proofs]
    lines += [f"Mind: {remark}." for remark in told.remarks]
    going = [f"{one.vm} to {one.to}" for one in told.drain if one.to]
    if going:
        lines.append(f"A drain would send {', '.join(going)}.")
    lines += [f"A drain could not send {one.vm} away: {one.why}." for one in told.drain if one.to is None]
    return lines


def as_plain(told: NodeWhy) -> dict[str, Any]:
    """For programs."""
    return asdict(told)


def _ends(told: NodeWhy) -> str:
    by = "its guard" if told.armed is ArmedLevel.GUARD else "its guard, or its watchdog by a reset,"
    return f"{by} ends its guests {told.hold_s:g} s after the last beat that it could commit"


def _agent(agent: str, role: FenceRole) -> str:
    return agent if role is FenceRole.POWER else f"{agent} ({role})"


def _has_unproven_claims(view: NodeView, snapshot: Snapshot) -> bool:
    return any(
        vm.placement
        and vm.placement.value.node == view.name
        and vm.placement.value.session not in (None, view.session_id, *snapshot.fenced)
        for vm in snapshot.vms.values()
    )
