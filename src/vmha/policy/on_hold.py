"""What is decided about a vm that must be left alone: only what puts on record what is so, and what waits for the end.

Nothing here starts, stops or moves a guest. A start that nobody has claimed yet is taken back; the claim compares the
same record, and that no hold has come down since it was read (agent/claims.py).
"""

from vmha.model.records import Phase, Placement, Reason, Request
from vmha.model.vm import Desired
from vmha.policy.asked.requests import decide_request
from vmha.policy.deciding.decision import NOTHING, Decision, change, in_words, seen_running, wait_for_the_end
from vmha.policy.phases.assigned import decide_assigned
from vmha.policy.phases.departed import decide_departed
from vmha.policy.phases.held import decide_held
from vmha.policy.phases.lost import decide_lost
from vmha.policy.phases.stopped import decide_stopped
from vmha.policy.phases.unmanaged import decide_unmanaged
from vmha.policy.placing.field import Field
from vmha.policy.state import transitions
from vmha.policy.state.causes import of_loss
from vmha.policy.state.hands_off import HandsOff, is_restart_in_place, is_waited_for, starts_are_paused
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change, PlacementStep, Step, Waiting

_UNWANTED = (Desired.STOPPED, Desired.DISABLED)


def decide_on_hold(
    vm: VmView, request: Request | None, off: HandsOff, ground: Field, moment: Moment, *, is_lost: bool
) -> Decision:
    """``is_lost``: the session that holds it is over."""
    placement = vm.placement.value if vm.placement else None
    if request is not None:
        is_begun = placement is not None and placement.operation == request.id
        if not (is_begun and is_waited_for(placement)):
            answered = decide_request(request, vm, ground, moment)
            if answered is not None and not any(_begins_something(step) for step in answered.steps):
                return answered
    if vm.spec is None:
        return decide_unmanaged(vm, ground, moment)
    wanted = vm.spec.value.desired
    if placement is None or placement.phase is Phase.STOPPED:
        if wanted is not Desired.RUNNING or seen_running(vm, ground):
            return decide_stopped(vm, ground, moment)
        return wait_for_the_end(vm, off, _how_it_ended(placement), moment.wall)
    if placement.phase is Phase.DEPARTED:
        return decide_departed(vm, ground, moment)
    if placement.phase is Phase.ASSIGNED:
        return _assigned(vm, placement, off, ground, moment)
    if is_lost:
        return _lost(vm, placement, off, ground, moment)
    if placement.phase is Phase.HELD:
        if wanted is Desired.AS_FOUND:
            return decide_held(vm, placement, ground, moment)
        if wanted in _UNWANTED:
            return Decision(waiting=Waiting(vm=vm.name, text=f"{off.text}: to be {wanted} afterwards"))
    return NOTHING


def _begins_something(step: Step) -> bool:
    return isinstance(step, PlacementStep) and step.change in (Change.ASSIGN, Change.STOP, Change.MIGRATE)


def _how_it_ended(placement: Placement | None) -> str:
    return f"; {placement.ended_why}" if placement and placement.ended_why else ""


def _assigned(vm: VmView, held: Placement, off: HandsOff, ground: Field, moment: Moment) -> Decision:
    if any(seen.node != held.node for seen in seen_running(vm, ground)):
        return decide_assigned(vm, held, ground, moment)  # it is adopted there
    if held.arrival:
        return Decision(waiting=Waiting(vm=vm.name, text=f"{held.node} is to let go on what has arrived there"))
    return call_back(vm, held, off, moment)


def _lost(vm: VmView, held: Placement, off: HandsOff, ground: Field, moment: Moment) -> Decision:
    assert vm.spec
    proof = ground.snapshot.fenced.get(held.session) if held.session else None
    if proof is None or vm.spec.value.desired in _UNWANTED or seen_running(vm, ground):
        return decide_lost(vm, held, ground, moment)  # waits for the proof, forgets it, or finds it elsewhere
    cause = of_loss(proof.node, proof.session)
    return wait_for_the_end(vm, off, f"; {in_words(proof)}", moment.wall, cause=cause)


def call_back_start(vm: VmView, held: Placement, ground: Field, moment: Moment) -> Decision | None:
    """While starts are paused: a start that was decided before and is not claimed yet does not happen."""
    off = starts_are_paused(ground.snapshot)
    if off is None or held.arrival or is_restart_in_place(held) or seen_running(vm, ground):
        return None
    return call_back(vm, held, off, moment)


def call_back(vm: VmView, held: Placement, off: HandsOff, moment: Moment) -> Decision:
    reason = Reason(rule=off.rule, text=off.text, cause=held.reason.cause)
    return change(vm, Change.WITHDRAW, transitions.withdraw(held, reason, moment.wall))
