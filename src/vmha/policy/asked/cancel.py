"""An operator calls a migration off.

The word goes into the placement, because there it meets the hand-over: both are written by compare on that one record.
Written first, it makes the holder abort the job; the guest stays where it is, and the record says who cancelled. Once
all memory is at the target nothing can be aborted any more: the holder hands over all the same, and the answer says
that the word came too late. A migration that is only asked for, and waits, is withdrawn.
"""

from collections.abc import Callable

from vmha.model.ids import CauseId
from vmha.model.records import Outcome, Phase, Placement, Progress, Reason, Request, Verb
from vmha.policy.deciding.decision import Decision
from vmha.policy.placing.field import Field
from vmha.policy.state import transitions
from vmha.policy.state.snapshot import Moment, Snapshot, VmView
from vmha.policy.state.steps import AnswerRequest, Change, PlacementStep

Answer = Callable[[Progress, str], Decision]


def decide_cancel(request: Request, vm: VmView, ground: Field, moment: Moment, answer: Answer) -> Decision | None:
    """None: it is under way, or the ordinary rules come first."""
    placement = vm.placement.value if vm.placement else None
    if placement is not None and placement.cancel == request.id:
        return _how_it_went(vm, placement, answer)
    if placement is not None and placement.phase is Phase.MIGRATING:
        return _call_off(request, vm, placement, ground, answer)
    if waiting := waiting_migrations(vm, ground.snapshot):
        text = f"cancelled by {request.author} before it began"
        theirs = [
            AnswerRequest(outcome=Outcome(request=each.id, progress=Progress.FAILED, text=text, at=moment.wall))
            for each in waiting
        ]
        return Decision(steps=(*theirs, *answer(Progress.DONE, f"the migration of {vm.name} had not begun").steps))
    if placement is not None and placement.arrival and _has_just_moved(placement, request):
        return answer(Progress.FAILED, f"too late: {vm.name} had switched to {placement.node} already")
    if request.id in ground.snapshot.outcomes:
        return answer(Progress.FAILED, f"too late: the migration of {vm.name} was over already")
    return answer(Progress.REJECTED, why_nothing(vm))


def _has_just_moved(placement: Placement, request: Request) -> bool:
    """It was moving when the cancel was asked for, as far as two hosts' clocks tell: it decides on words alone."""
    return placement.phase is Phase.ASSIGNED or placement.since >= request.asked_at


def why_nothing(vm: VmView) -> str:
    """There is no migration to cancel."""
    where = (
        f"; it is {vm.placement.value.phase} on {vm.placement.value.node}" if _is_placed(vm) and vm.placement else ""
    )
    return f"{vm.name} is not being migrated{where}: nothing to cancel"


def _is_placed(vm: VmView) -> bool:
    return vm.placement is not None and vm.placement.value.node is not None


def waiting_migrations(vm: VmView, snapshot: Snapshot) -> list[Request]:
    """Asked for and not begun, or to be tried again."""
    placement = vm.placement.value if vm.placement else None
    found = []
    for each in snapshot.requests.values():
        if each.verb is not Verb.MIGRATE or each.vm != vm.name or not snapshot.is_open(each):
            continue
        if placement is None or placement.operation != each.id or _has_failed(placement):
            found.append(each)
    return found


def _has_failed(placement: Placement) -> bool:
    return placement.phase is Phase.HELD and bool(placement.ended_why) and placement.cancel is None


def _call_off(request: Request, vm: VmView, placement: Placement, ground: Field, answer: Answer) -> Decision | None:
    if placement.session in ground.snapshot.fenced:
        return None  # its holder is lost: it is recovered first
    if placement.cancel is not None:
        return answer(Progress.REJECTED, f"{placement.cancel_by} has cancelled it already")
    if placement.switched:
        where = f"goes on at {placement.target}, and fetches its memory from {placement.node}"
        return answer(Progress.FAILED, f"too late: {vm.name} {where}")
    assert vm.placement
    text = f"the migration to {placement.target} is cancelled by {request.author}"
    new = transitions.cancel(placement, request.id, request.author, failback_after=ground.snapshot.revision)
    step = PlacementStep(
        change=Change.CANCEL,
        vm=vm.name,
        expected=vm.placement.modified,
        placement=new,
        reason=Reason(rule="operator-cancelled", text=text, cause=CauseId(placement.reason.cause)),
    )
    return Decision(steps=(step, *answer(Progress.RUNNING, f"calling off the migration to {placement.target}").steps))


def _how_it_went(vm: VmView, placement: Placement, answer: Answer) -> Decision | None:
    match placement.phase:
        case Phase.MIGRATING:
            return None
        case Phase.HELD if placement.ended_why:
            return answer(Progress.DONE, f"{vm.name} stays on {placement.node}: {placement.ended_why}")
        case Phase.STOPPED | Phase.DEPARTED:
            return answer(Progress.FAILED, f"{vm.name} is {placement.phase}: {placement.ended_why}")
        case _:
            return answer(Progress.FAILED, f"too late: {vm.name} had switched to {placement.node} already")
