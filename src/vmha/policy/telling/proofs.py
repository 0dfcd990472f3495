"""Which proof a silent node's vms wait for, in words: what was tried, what time will give, what a person may give."""

from vmha.model.ids import SessionId
from vmha.model.records import ArmedLevel, FenceAttempt, FenceStage
from vmha.model.settings import Proof
from vmha.model.vm import FenceRole
from vmha.policy.members.membership import devices_of
from vmha.policy.state.snapshot import NodeView, Snapshot


def proofs_awaited(view: NodeView, session: SessionId | None, snapshot: Snapshot) -> list[str]:
    """What may still prove that nothing of ``session`` runs on the node, the sooner first. The last one always may."""
    accept = snapshot.config.fencing.accept
    found = []
    if view.beat is not None and view.beat.value.session == session:
        agents = [one.agent for one in devices_of(view, snapshot) if one.role is not FenceRole.VERIFY]
        if agents:
            said = f" ({in_short(view.attempt)})" if view.attempt else ""
            found.append(f"its fence agent{'s' if len(agents) > 1 else ''} {', '.join(agents)}{said}")
        beat = view.beat.value
        if beat.armed is not ArmedLevel.NONE and {Proof.GUARD_ELAPSED, Proof.WATCHDOG_ELAPSED} & set(accept):
            found.append(f"its {beat.armed}, which has acted {beat.dead_after_s:g} s after its last beat")
    else:
        found.append(f"{view.name} itself, once it is back and has published what runs there")
    found.append(f"your word: vmha node confirm-off {view.name}")
    return found


def in_short(attempt: FenceAttempt) -> str:
    match attempt.stage:
        case FenceStage.CUTTING if attempt.message:
            return f"attempt {attempt.attempts} is under way; the last one: {attempt.message}"
        case FenceStage.CUTTING:
            return f"attempt {attempt.attempts} is under way"
        case FenceStage.FAILED:
            return f"attempt {attempt.attempts} failed: {attempt.message}"
        case FenceStage.STORAGE_CUT:
            return f"its storage is cut off: {attempt.message}"
        case FenceStage.OFF:
            return f"its power is off: {attempt.message}"
        case FenceStage.SWITCHING_ON:
            return f"it is being switched on again, attempt {attempt.attempts}"
        case FenceStage.NOT_ON:
            return f"it was not switched on again, attempt {attempt.attempts} failed: {attempt.message}"
        case FenceStage.ON:
            return f"it was switched on again ({attempt.message}), and is not back yet"
        case FenceStage.LEFT_OFF:
            return f"it {attempt.message}"


def in_full(attempt: FenceAttempt, wall: float) -> str:
    """With the time of the next attempt."""
    if attempt.stage not in (FenceStage.FAILED, FenceStage.NOT_ON):
        return in_short(attempt)
    left_s = attempt.next_at - wall
    return f"{in_short(attempt)}; the next is {f'in {left_s:.0f} s' if left_s > 0.5 else 'due'}"
