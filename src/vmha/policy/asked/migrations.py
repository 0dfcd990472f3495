"""A migration that an operator asks for: begun when there is room for it, tried elsewhere when it fails.

Whoever names a target means that one: it takes the vm or the request fails, in words. Without a target it is the best
other node, and after a failure another one; where it has failed a node rests, as after a start.
"""

from typing import Protocol

from vmha.model.ids import NodeName
from vmha.model.records import Candidate, Failure, Placement, Progress, Reason, Request, SeenState
from vmha.model.vm import Desired, why_no_post_copy
from vmha.policy.deciding.decision import Decision, migrate
from vmha.policy.placing.choice import Choice
from vmha.policy.placing.field import Field
from vmha.policy.placing.limits import no_migration_out_of
from vmha.policy.placing.placement import choose
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Waiting

MIGRATIONS_TRIED_AT_MOST = 3
"""For one request that names no target. A drain goes on for ever."""


class Say(Protocol):
    def __call__(self, progress: Progress, text: str, candidates: tuple[Candidate, ...] = ()) -> Decision: ...


def begin_migration(
    request: Request, vm: VmView, placement: Placement, ground: Field, moment: Moment, answer: Say
) -> Decision | None:
    assert placement.node
    if request.node == placement.node:
        return answer(Progress.DONE, f"{vm.name} runs on {placement.node} already")
    seen = vm.seen.get(placement.node)
    if seen is None or seen.state is SeenState.STARTING:
        return None
    if seen.state is not SeenState.RUNNING:
        return answer(Progress.REJECTED, f"{vm.name} is {seen.state} on {placement.node}; only a running vm migrates")
    if wrong := refused_style(request, vm):
        return answer(Progress.REJECTED, wrong)
    ends = (placement.node, request.node) if request.node in ground.loads and request.node else (placement.node,)
    for node in ends:
        if busy := no_migration_out_of(node, ground):
            return _takes_its_turn(request, vm, ground, answer, busy)
    choice = _pick_untried(request, vm, placement, ground)
    if choice.node is None and request.node is None:
        is_busy = any(no_migration_out_of(each.node, ground) for each in choice.candidates)
        if is_busy or choice.retry_in_s is not None:
            return _takes_its_turn(request, vm, ground, answer, refused(request, choice), choice.retry_in_s)
    if choice.node is None:
        return answer(Progress.REJECTED, refused(request, choice), choice.candidates)
    reason = Reason(
        rule="operator-asked-to-migrate",
        text=f"migration to {choice.node} asked for by {request.author}",
        candidates=choice.candidates,
    )
    move = migrate(vm, placement, choice.node, reason, ground=ground, moment=moment, request=request)
    begun = answer(Progress.RUNNING, f"migrating from {placement.node} to {choice.node}")
    return Decision(steps=(*move.steps, *begun.steps))


def refused_style(request: Request, vm: VmView) -> str:
    """Why it does not migrate in the style that is asked for; '': it does."""
    if request.style is None or vm.spec is None:
        return ""
    wrong = why_no_post_copy(vm.spec.value.migration, request.style)
    return f"{vm.name}: {wrong}" if wrong else ""


def _pick_untried(request: Request, vm: VmView, placement: Placement, ground: Field) -> Choice:
    """Where it has just failed for this request it is tried again only if no other node can take it."""
    assert placement.node
    failures = placement.failures
    if request.node is None and placement.operation == request.id:
        tried = {failure.node: f"failed to receive it: {failure.error}" for failure in failures[-placement.tries :]}
        untried = pick(request, vm, placement.node, ground, moving=True, failures=failures, avoid=tried)
        if untried.node is not None:
            return untried
    return pick(request, vm, placement.node, ground, moving=True, failures=failures)


def _takes_its_turn(
    request: Request, vm: VmView, ground: Field, answer: Say, text: str, retry_in_s: float | None = None
) -> Decision:
    """It is begun when there is room; whoever waits for it reads what it waits for."""
    known = ground.snapshot.outcomes.get(request.id)
    said = () if known is not None and known.text == text else answer(Progress.RUNNING, text).steps
    return Decision(steps=said, waiting=Waiting(vm=vm.name, text=text), retry_in_s=retry_in_s or 1.0)


def try_elsewhere(
    request: Request, vm: VmView, placement: Placement, ground: Field, moment: Moment, answer: Say
) -> Decision | None:
    """A migration failed, and its guest runs on at its source. Whoever named no target gets another one tried."""
    assert vm.spec
    failed = f"{vm.name} stays on {placement.node}: {placement.ended_why}"
    if request.node is not None or placement.cancel is not None or vm.spec.value.desired is not Desired.RUNNING:
        return answer(Progress.FAILED, failed)
    if placement.tries >= MIGRATIONS_TRIED_AT_MOST:
        tried = ", ".join(failure.node for failure in placement.failures[-placement.tries :])
        return answer(Progress.FAILED, f"{failed} (tried {tried})")

    def answer_again(progress: Progress, text: str, candidates: tuple[Candidate, ...] = ()) -> Decision:
        if progress is Progress.REJECTED:
            return answer(Progress.FAILED, f"{failed}; {text}", candidates)
        return answer(progress, text, candidates)

    return begin_migration(request, vm, placement, ground, moment, answer_again)


def pick(
    request: Request,
    vm: VmView,
    here: NodeName,
    ground: Field,
    *,
    moving: bool,
    failures: tuple[Failure, ...] = (),
    avoid: dict[NodeName, str] | None = None,
) -> Choice:
    """The node asked for, or the best other one. An operator may go against preference, not against a refusal."""
    assert vm.spec
    ground.ties.free.add(vm.name)  # the others of its service follow it
    if request.node is None:
        avoid = {**(avoid or {}), here: "runs it now"}
        return choose(vm.spec.value, ground, owner=here, avoid=avoid, failures=failures, moving=moving)
    if request.node not in ground.verdicts:
        return Choice(node=None, candidates=(Candidate(node=request.node, refusal="is not a node of this cluster"),))
    choice = choose(vm.spec.value, ground, owner=here, prefer=request.node, moving=moving)
    asked = tuple(c for c in choice.candidates if c.node == request.node)
    return Choice(node=None if asked[0].refusal else request.node, candidates=asked)


def refused(request: Request, choice: Choice) -> str:
    if request.node is not None:
        return f"{request.node} {choice.candidates[0].refusal}"
    return "no other node can take it: " + "; ".join(f"{c.node} {c.refusal}" for c in choice.candidates)
