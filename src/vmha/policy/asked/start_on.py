"""A start on the node that an operator names: placed there once, if it may be, else refused in words.

Nothing is half done: the desired state is written together with the placement, in one transaction. A start that is
refused leaves the vm as it was. What comes of it later (the node is lost, the start fails there) follows the ordinary
rules, as for any vm that is wanted running.
"""

from collections.abc import Callable
from dataclasses import replace

from vmha.model.records import Candidate, Phase, Placement, Progress, Reason, Request, SeenState, Verb
from vmha.model.vm import Desired
from vmha.policy.deciding.decision import Decision, place, seen_running
from vmha.policy.deciding.dependencies import waits_for
from vmha.policy.deciding.unsettled import unsettled
from vmha.policy.placing.choice import Choice
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import choose
from vmha.policy.state import transitions
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change, PlacementStep, SettleDesired, Waiting

STARTS = frozenset({Verb.START, Verb.ENABLE})

Answer = Callable[[Progress, str, tuple[Candidate, ...]], Decision]


def decide_start(
    request: Request, vm: VmView, placement: Placement | None, ground: Field, moment: Moment, answer: Answer
) -> Decision | None:
    """None: something else comes first. It is not begun yet."""
    assert vm.spec
    spec = vm.spec.value
    if refusal := why_not_now(request, vm):
        return answer(Progress.REJECTED, refusal, ())
    if placement is not None and placement.phase is not Phase.STOPPED:
        is_there = placement.phase is Phase.HELD and spec.desired is Desired.RUNNING and _is_up(vm, placement)
        return answer(Progress.DONE, f"{vm.name} runs on {placement.node} already", ()) if is_there else None
    if seen_running(vm, ground) and spec.desired is not Desired.DISABLED:
        return None  # it is adopted where it runs
    if unknown := unsettled(vm, ground):
        return Decision(waiting=Waiting(vm=vm.name, text=unknown), retry_in_s=1.0)
    text, retry_in_s = waits_for(vm, ground)
    if text:
        return Decision(waiting=Waiting(vm=vm.name, text=text), retry_in_s=retry_in_s)
    choice = pick(request, vm, ground)
    if choice.node is None:
        return answer(Progress.REJECTED, refused(request, choice), choice.candidates)
    why = f"{_DONE[request.verb]} {choice.node} by {request.author}"
    reason = Reason(rule=f"operator-asked-to-{request.verb}", text=why, candidates=choice.candidates)
    new = transitions.assign(vm.name, placement, choice.node, reason, moment.wall, operation=request.id)
    new = replace(new, failback_after=ground.snapshot.revision)  # or failback takes it away at once
    placed = place(vm, Change.ASSIGN, new, spec, ground)
    settle = SettleDesired(vm=vm.name, expected=vm.spec.modified, desired=Desired.RUNNING, reason=reason)
    if spec.desired is Desired.RUNNING:
        return placed
    steps = tuple(replace(step, settle=settle) if isinstance(step, PlacementStep) else step for step in placed.steps)
    return replace(placed, steps=steps)


_DONE = {Verb.START: "started on", Verb.ENABLE: "enabled on", Verb.RELOCATE: "relocated to"}


def why_not_now(request: Request, vm: VmView) -> str:
    """What stands against it whatever the nodes say, with the way out; '' when nothing does."""
    assert vm.spec
    spec, placement = vm.spec.value, vm.placement.value if vm.placement else None
    if spec.desired is Desired.DISABLED and request.verb is Verb.START:
        return f"{vm.name} is disabled ({spec.desired_why or 'no reason given'}); vmha vm enable {vm.name}"
    if placement is None:
        return ""
    if placement.phase is Phase.DEPARTED:
        return f"{vm.name} has departed: {placement.ended_why}"
    if placement.phase in (Phase.HELD, Phase.MIGRATING) and spec.desired is Desired.RUNNING:
        where = placement.target or placement.node
        if request.node not in (None, where):
            state = "migrates to" if placement.target else "runs on"
            return f"{vm.name} {state} {where} already; move it with: vmha vm migrate {vm.name} --to {request.node}"
    return ""


def _is_up(vm: VmView, placement: Placement) -> bool:
    seen = vm.seen.get(placement.node) if placement.node else None
    return seen is not None and seen.session == placement.session and seen.state is SeenState.RUNNING


def pick(request: Request, vm: VmView, ground: Field) -> Choice:
    """The node that is named. An operator may go against preference, not against a refusal."""
    assert vm.spec
    failures = vm.placement.value.failures if vm.placement else ()
    if request.node is None:
        return choose(vm.spec.value, ground, failures=failures)
    if request.node not in ground.verdicts:
        return Choice(node=None, candidates=(Candidate(node=request.node, refusal="is not a node of this cluster"),))
    choice = choose(vm.spec.value, ground, prefer=request.node)
    asked = tuple(candidate for candidate in choice.candidates if candidate.node == request.node)
    return Choice(node=None if asked[0].refusal else request.node, candidates=asked)


def refused(request: Request, choice: Choice) -> str:
    said = "; ".join(f"{one.node} {one.refusal}" for one in choice.candidates if one.refusal)
    return f"{request.vm} is not started: {said}"
