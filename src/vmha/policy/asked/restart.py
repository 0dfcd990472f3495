"""Restarts that an operator asks for, by kind. Those that keep the QEMU change no holder and no epoch."""

from collections.abc import Callable
from dataclasses import replace

from vmha.model.records import Candidate, Placement, Progress, Reason, Request, SeenState
from vmha.model.restart import IN_PLACE, DeedStage, GuestDeed, RestartKind
from vmha.policy.deciding.decision import Decision, change
from vmha.policy.placing.field import Field
from vmha.policy.state import transitions
from vmha.policy.state.causes import of_request
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change, PlacementStep

Answer = Callable[[Progress, str, tuple[Candidate, ...]], Decision]

_BEGUN = {RestartKind.STOP_START: "stopping it", RestartKind.HARD: "ending it by force"}


def begin_restart(
    request: Request, vm: VmView, held: Placement, ground: Field, moment: Moment, answer: Answer
) -> Decision | None:
    """Of a vm that is held by a living session. None: not yet."""
    assert vm.spec
    kind = request.kind or RestartKind.STOP_START
    if kind in IN_PLACE:
        return _begin_in_place(kind, request, vm, held, answer)
    if kind is RestartKind.HARD and vm.spec.value.no_kill:
        text = f"{vm.name} must not be ended by force (no_kill); allow it with: vmha vm edit {vm.name} --kill"
        return answer(Progress.REJECTED, text, ())
    how = "" if kind is RestartKind.STOP_START else f" ({kind})"
    reason = Reason(rule="operator-asked-to-restart", text=f"restart asked for by {request.author}{how}")
    new = transitions.ask_stop(held, reason, moment.wall, operation=request.id)
    stop = change(vm, Change.STOP, replace(new, by_force=kind is RestartKind.HARD))
    return Decision(steps=(*stop.steps, *answer(Progress.RUNNING, _BEGUN[kind], ()).steps))


def _begin_in_place(
    kind: RestartKind, request: Request, vm: VmView, held: Placement, answer: Answer
) -> Decision | None:
    assert vm.placement
    seen = vm.seen.get(held.node) if held.node else None
    if seen is None or seen.session != held.session or seen.state is SeenState.STARTING:
        return None
    if seen.state is not SeenState.RUNNING:
        text = f"{vm.name} is {seen.state} on {held.node}; only a running guest can be asked to {kind}"
        return answer(Progress.REJECTED, text, ())
    new = transitions.ask_deed(held, GuestDeed(kind=kind, operation=request.id))
    text = f"{kind} of its guest asked for by {request.author}"
    reason = Reason(rule=f"operator-asked-to-{kind}", text=text, cause=of_request(request.id))
    step = PlacementStep(change=Change.DEED, vm=vm.name, expected=vm.placement.modified, placement=new, reason=reason)
    return Decision(steps=(step, *answer(Progress.RUNNING, f"asking {held.node} to {kind} its guest", ()).steps))


def conclude_in_place(request: Request, vm: VmView, held: Placement, moment: Moment, answer: Answer) -> Decision | None:
    """The placement carries this operation, and the vm is held: how did it go?"""
    deed = held.deed
    if deed is None or deed.operation != request.id:
        seen = vm.seen.get(held.node) if held.node else None
        if seen is None or seen.session != held.session or seen.state is not SeenState.RUNNING:
            return None
        return answer(Progress.DONE, f"{vm.name} runs on {held.node}; it had ended, and was started anew", ())
    match deed.stage:
        case DeedStage.DONE:
            return answer(Progress.DONE, f"{vm.name} runs on {held.node}: its guest has booted again ({deed.kind})", ())
        case DeedStage.FAILED:
            return answer(Progress.FAILED, f"{deed.kind} of {vm.name} on {held.node}: {deed.said}", ())
    return None


def give_up(request: Request, vm: VmView, held: Placement, answer: Answer) -> Decision:
    """Nobody has begun with it in all the time it was given."""
    assert vm.placement
    text = f"{request.kind} of {vm.name}: {held.node} did not do it in time; it is not done any more"
    reason = Reason(rule="too-late-for-it", text=text, cause=of_request(request.id))
    step = PlacementStep(
        change=Change.DEED,
        vm=vm.name,
        expected=vm.placement.modified,
        placement=replace(held, deed=None, operation=None),
        reason=reason,
    )
    return Decision(steps=(step, *answer(Progress.FAILED, text, ()).steps))
