"""A decision about one vm, and the steps that it may consist of: built here, chosen in ``phases`` and ``asked``."""

from dataclasses import dataclass, replace
from functools import lru_cache

from vmha.model.ids import CauseId, Epoch, NodeName, Revision, SessionId, VmName
from vmha.model.records import (
    Candidate,
    FenceRecord,
    Observation,
    Placement,
    Reason,
    Request,
    SeenState,
)
from vmha.model.vm import Desired, VmSpec
from vmha.policy.deciding.drain import home_of
from vmha.policy.deciding.passing import left_until_noted
from vmha.policy.placing.affinity import BY_RULE, preferred_by
from vmha.policy.placing.choice import Choice
from vmha.policy.placing.exclusive import IS_EXCLUSIVE, WANTS_TO_BE_ALONE
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import take
from vmha.policy.placing.services import sent_away, took_a_place
from vmha.policy.room.for_all import IS_CLEARED
from vmha.policy.state import transitions
from vmha.policy.state.causes import of_loss, of_start, of_state, with_cause
from vmha.policy.state.hands_off import HandsOff, forbids_start
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change, PlacementStep, SettleDesired, Step, Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    steps: tuple[Step, ...] = ()
    waiting: Waiting | None = None
    retry_in_s: float | None = None


NOTHING = Decision()


def seen_running(vm: VmView, ground: Field) -> list[Observation]:
    """Living sessions that see the vm as more than a shell: running, or stopped mid-flight by a user or an error.

    The half of a broken post-copy migration as well: somebody has to hold it, to end it and to say that it has crashed.
    Never a second copy that was paused as such; and what runs comes before what stands.
    """
    if not vm.seen:
        return []
    states = (SeenState.RUNNING, SeenState.PAUSED, SeenState.STOPPING)
    seen = (one for one in ground.snapshot.observations(vm) if one.state in states or _is_broken_half(one))
    return sorted(
        (one for one in seen if not one.second), key=lambda one: (one.state is not SeenState.RUNNING, one.node)
    )


def _is_broken_half(seen: Observation) -> bool:
    return seen.state is SeenState.CRASHED and seen.reason == "postcopy_failed"


def adopt(vm: VmView, seen: Observation, ground: Field, moment: Moment, *, why: str) -> Decision:
    """The node that runs it becomes its holder, with a new epoch; it comes home only to a node that joins later."""
    beat = ground.snapshot.nodes[seen.node].beat
    assert beat
    reason = Reason(
        rule="found-running-is-adopted", text=f"adopted on {seen.node}: {why}", cause=_cause_of_adoption(vm, ground)
    )
    new = transitions.adopt(
        vm.name,
        vm.placement.value if vm.placement else None,
        seen.node,
        seen.session,
        reason,
        moment.wall,
        failback_after=ground.snapshot.revision,
    )
    if ground.snapshot.unsettled and seen.epoch is not None and seen.epoch >= new.epoch:
        new = replace(new, epoch=Epoch(seen.epoch + 1))  # granted by a store that was restored to an earlier state
    settle = None
    if vm.spec and vm.spec.value.desired in (Desired.AS_FOUND, Desired.STOPPED):
        found = Reason(rule="found-running", text=f"it was found running on {seen.node}")
        settle = SettleDesired(vm=vm.name, expected=vm.spec.modified, desired=Desired.RUNNING, reason=found)
    if ground.ties.member_of:
        took_a_place(vm.name, seen.node, ground)
    step = PlacementStep(
        change=Change.ADOPT,
        vm=vm.name,
        expected=vm.placement.modified if vm.placement else Revision(0),
        placement=new,
        reason=reason,
        living=(seen.node, beat.created),
        fenced=_fenced_holder(vm, ground),
        settle=settle,
    )
    return Decision(steps=(step,))


def _cause_of_adoption(vm: VmView, ground: Field) -> CauseId:
    """The loss of its holder, or that it was found."""
    if (session := _fenced_holder(vm, ground)) is not None:
        return of_loss(ground.snapshot.fenced[session].node, session)
    return CauseId(f"found-{vm.name}-{(vm.placement.value.epoch if vm.placement else 0) + 1}")


def _fenced_holder(vm: VmView, ground: Field) -> SessionId | None:
    session = vm.placement.value.session if vm.placement else None
    return session if session in ground.snapshot.fenced else None


def migrate(
    vm: VmView,
    held: Placement,
    target: NodeName,
    reason: Reason,
    *,
    ground: Field,
    moment: Moment,
    request: Request | None = None,
    stays: bool = False,
) -> Decision:
    """``stays``: it goes home only to a node that joins later, as after a request."""
    assert vm.spec
    assert held.node
    if any(seen.node == target for seen in ground.snapshot.observations(vm)):
        # What an earlier migration left there; libvirt would refuse, again and again, and its agent would not clear it
        # away while another migration names that node.
        return Decision(waiting=Waiting(vm=vm.name, text=f"something of it is still on {target}"))
    new = transitions.ask_migration(
        held,
        target,
        reason,
        moment.wall,
        operation=request.id if request else None,
        failback_after=ground.snapshot.revision if request or stays else None,
        style=request.style if request else None,
        drained_from=home_of(held, ground) if request is None else None,
    )
    ground.loads[held.node].migrating += 1
    ground.loads[target].migrating += 1
    ground.migrating += 1
    return place(vm, Change.MIGRATE, new, vm.spec.value, ground, receiver=target)


def place(
    vm: VmView,
    kind: Change,
    new: Placement,
    spec: VmSpec,
    ground: Field,
    *,
    fenced: SessionId | None = None,
    receiver: NodeName | None = None,
) -> Decision:
    """The step, conditional on the receiver's session being the one that was judged; its load counts from now on."""
    if kind is not Change.MIGRATE and (off := forbids_start(vm, new, ground.snapshot)):
        return wait_for_the_end(vm, off, "", ground.wall, cause=new.reason.cause)
    if kind is not Change.MIGRATE and (sent := sent_away(vm.name, ground)):
        text = f"{sent[0]}, which its service follows, is only being sent to {sent[1]}"
        return Decision(waiting=Waiting(vm=vm.name, text=text), retry_in_s=1.0)
    node = receiver or new.node
    assert node
    beat = ground.snapshot.nodes[node].beat
    assert beat
    take(node, spec, ground, starting=kind is not Change.MIGRATE)
    ready = () if kind is Change.MIGRATE else ground.ties.standing(vm.name, ground.snapshot)
    return change(vm, kind, new, fenced=fenced, living=(node, beat.created), ready=ready)


def change(
    vm: VmView,
    kind: Change,
    new: Placement,
    *,
    fenced: SessionId | None = None,
    living: tuple[NodeName, Revision] | None = None,
    ready: tuple[tuple[VmName, Revision], ...] = (),
    settle: SettleDesired | None = None,
) -> Decision:
    if kind is not Change.NOTE:
        new = with_cause(kind, new)
    step = PlacementStep(
        change=kind,
        vm=vm.name,
        expected=vm.placement.modified if vm.placement else Revision(0),
        placement=new,
        reason=new.reason,
        fenced=fenced,
        living=living,
        ready=ready,
        settle=settle,
    )
    return Decision(steps=(step,))


def wait(
    vm: VmView, rule: str, text: str, choice: Choice | None = None, *, noted: str = "", moment: Moment
) -> Decision:
    """Nothing can be done now: say so, once, where ``vm why`` reads it, and look again when a refusal runs out.

    What mostly passes in a moment is put on record when it has not (policy/deciding/passing.py).

    ``noted``: what is put on record instead of ``text``, when that will soon be another one.
    """
    candidates: tuple[Candidate, ...] = choice.candidates if choice else ()
    held = vm.placement.value if vm.placement else None
    reason = Reason(rule=rule, text=noted or text, cause=of_start(vm.name, held), candidates=candidates)
    waiting = Waiting(vm=vm.name, text=text, candidates=candidates, wait=(vm.name, rule, _gist(reason)))
    retry = choice.retry_in_s if choice else 1.0
    if held and (vm.name, held.reason.rule, _gist(held.reason)) == waiting.wait:
        return Decision(waiting=waiting, retry_in_s=retry)
    if left_s := left_until_noted(waiting, moment):
        return Decision(waiting=waiting, retry_in_s=left_s if retry is None else min(retry, left_s))
    step = change(vm, Change.NOTE, transitions.note(vm.name, held, reason, moment.wall)).steps
    return Decision(steps=step, waiting=waiting, retry_in_s=retry)


def wait_for_the_end(vm: VmView, off: HandsOff, more: str, wall: float, *, cause: CauseId = CauseId("")) -> Decision:
    """Say so, once, where ``vm why`` reads it; the end of the hold is a change, and wakes whoever plans.

    ``cause``: of what is held up, where that is not what the vm is in.
    """
    text = f"{off.text}{more}"
    waiting = Waiting(vm=vm.name, text=text)
    held = vm.placement.value if vm.placement else None
    if held and (held.reason.rule, held.reason.text) == (off.rule, text):
        return Decision(waiting=waiting)
    reason = Reason(rule=off.rule, text=text, cause=cause or of_state(held) or off.cause)
    step = change(vm, Change.NOTE, transitions.note(vm.name, held, reason, wall)).steps
    return Decision(steps=step, waiting=waiting)


def _gist(reason: Reason) -> tuple[tuple[str, str], ...]:
    """What makes two waits different: which nodes refuse, and for whom. Not their wording, which may count seconds."""
    if not reason.candidates:
        waited_for = reason.text.partition(" ")[0]  # a node
        return ((waited_for, "".join(letter for letter in reason.text if not letter.isdigit())),)
    return tuple((candidate.node, _kind(candidate.refusal)) for candidate in reason.candidates)


@lru_cache(maxsize=10_000)
def _kind(refusal: str) -> str:
    """What kind of thing is in the way: a vm must not be said to wait for what it waited for before."""
    if not refusal or _names_somebody(refusal):
        return refusal
    if refusal.endswith(WANTS_TO_BE_ALONE):
        return WANTS_TO_BE_ALONE
    return " ".join(word for word in refusal.split()[:3] if not word[0].isdigit())


def _names_somebody(refusal: str) -> bool:
    return refusal.endswith(IS_EXCLUSIVE) or BY_RULE in refusal or refusal.startswith(IS_CLEARED)


def why_there(spec: VmSpec, choice: Choice, ground: Field) -> str:
    """One clause: why this node and not another."""
    others = [c for c in choice.candidates if c.node != choice.node and not c.refusal]
    if not others:
        return f"{choice.node} is the only node that can take it"
    if spec.name in ground.ties.makes_room:
        return f"{choice.node} is taken so that others that are to start find room, too"
    mine = next(c for c in choice.candidates if c.node == choice.node)
    if (domain := ground.domain_of(spec)) and any(c.score < mine.score for c in others):
        return f"{choice.node} is preferred in failover domain {domain.name}"
    if choice.node and (rules := preferred_by(choice.node, spec, (c.node for c in others), ground)):
        return f"{choice.node} is preferred by rule {rules}"
    return f"{choice.node} is preferred: fewest vms"


def in_short(choice: Choice) -> str:
    """Every refusal in one line; in a large cluster those that say most."""
    said = "; ".join(f"{c.node} {c.refusal}" for c in choice.candidates if c.refusal)
    if choice.unnamed:
        said += f"; and {choice.unnamed} more"
    return f"no node can take it: {said}" if said else "no node is known"


def in_words(proof: FenceRecord) -> str:
    return f"{proof.node} is fenced ({proof.proof})"
