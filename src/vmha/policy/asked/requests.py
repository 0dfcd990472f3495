"""Operations asked for once: migrate (and its cancel), relocate, restart, and the two confirmations.

The state of an operation is the placement that carries its id; nothing is remembered elsewhere, so a new leader goes
on where the old one stopped. Each request ends in exactly one outcome: done, failed or rejected, with its words.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vmha.model.ids import NodeName, RequestId, Revision, SessionId
from vmha.model.records import (
    Candidate,
    Outcome,
    Phase,
    Placement,
    Progress,
    Reason,
    Request,
    RunEnd,
    SeenState,
    Verb,
)
from vmha.model.restart import IN_PLACE, DeedStage
from vmha.model.settings import Proof
from vmha.model.vm import Desired
from vmha.policy.asked.as_one import wait_for_its_turn
from vmha.policy.asked.cancel import decide_cancel
from vmha.policy.asked.migrations import begin_migration, pick, refused, try_elsewhere
from vmha.policy.asked.restart import begin_restart, conclude_in_place, give_up
from vmha.policy.asked.start_on import STARTS, decide_start
from vmha.policy.deciding.decision import Decision, change, place, why_there
from vmha.policy.deciding.dependencies import waits_for
from vmha.policy.deciding.frozen_with_host import kept_for, why_kept
from vmha.policy.members.membership import Condition, cause_of_loss, former_sessions
from vmha.policy.members.power_on import is_to_be_on, leave_off
from vmha.policy.members.removed import not_known_of_offline, sessions_waited_for, unresolved
from vmha.policy.placing.field import Field
from vmha.policy.placing.limits import no_start
from vmha.policy.placing.placement import choose, left_of
from vmha.policy.state import transitions
from vmha.policy.state.causes import of_loss
from vmha.policy.state.census import Census
from vmha.policy.state.hands_off import forbids_request, hold_ages
from vmha.policy.state.snapshot import Moment, Snapshot, VmView
from vmha.policy.state.steps import AnswerRequest, Change, EvictSession, ForgetProof, ForgetRemoved, ForgetRequest, Step

PROOFS_KEPT_S = 7 * 86400.0
PROOFS_KNOWN_S = 3600.0
"""And for at least so long after this leader has come to know of them, whatever its wall clock says meanwhile."""
MEASURE_PATIENCE_S = 2.0
KEPT_S = 3600.0
"""A finished request and its outcome are kept this long for whoever asks late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    request: Request
    moment: Moment

    def __call__(self, progress: Progress, text: str, candidates: tuple[Candidate, ...] = ()) -> Decision:
        outcome = Outcome(
            request=self.request.id, progress=progress, text=text, at=self.moment.wall, candidates=candidates
        )
        return Decision(steps=(AnswerRequest(outcome=outcome),))


def aging(snapshot: Snapshot) -> Iterator[str]:
    """What ``Moment.known_s`` is to be counted for."""
    yield from map(_request, snapshot.requests)
    yield from map(_proof, snapshot.fenced)
    yield from hold_ages(snapshot)
    for name, outcome in snapshot.outcomes.items():
        if outcome.progress is not Progress.RUNNING:
            yield _outcome(name)


def _request(name: RequestId) -> str:
    return f"requests/{name}"


def _outcome(name: RequestId) -> str:
    return f"outcomes/{name}"


def _proof(session: SessionId) -> str:
    return f"fencing/{session}"


def _is_too_old(request: Request, moment: Moment) -> bool:
    """Its author's clock says for how long it is to be tried, and nothing about what time it is here."""
    tried_s = moment.known_s.get(_request(request.id), 0.0)
    return request.expires_at > 0 and tried_s > request.expires_at - request.asked_at


def tidy(ground: Field, moment: Moment, census: Census) -> list[Step]:
    """Requests that ended long ago are forgotten, and proofs that nothing refers to."""
    outcomes = ground.snapshot.outcomes
    old = [
        session
        for session, record in ground.snapshot.fenced.items()
        if moment.wall - record.at > PROOFS_KEPT_S and moment.known_s.get(_proof(session), 0.0) > PROOFS_KNOWN_S
    ]
    proofs: list[Step] = []
    if old:
        of_use = {vm.placement.value.session for vm in census.astir.values() if vm.placement}
        of_use |= {place.session for place in census.crowds}
        of_use |= {*sessions_waited_for(ground.snapshot), *_last_sessions(ground.snapshot)}
        proofs += [ForgetProof(session=session) for session in old if session not in of_use]
    return proofs + [
        ForgetRequest(request=name)
        for name, outcome in outcomes.items()
        if outcome.progress is not Progress.RUNNING and moment.known_s.get(_outcome(name), 0.0) > KEPT_S
    ]


def _last_sessions(snapshot: Snapshot) -> Iterator[SessionId]:
    """Of nodes that are offline: what is known of them is asked when a new vm is started."""
    yield from (node.status.value.session for node in snapshot.nodes.values() if node.beat is None and node.status)


def decide_request(request: Request, vm: VmView | None, ground: Field, moment: Moment) -> Decision | None:
    """What an open request asks for now. None: nothing at the moment, let the ordinary rules go on."""
    answer = _Answer(request=request, moment=moment)
    if request.verb is Verb.CONFIRM_OFF:
        return _confirm_off(request, ground, moment, answer)
    if vm is None or vm.spec is None:
        return answer(Progress.REJECTED, f"there is no vm {request.vm}")
    if request.verb is Verb.CANCEL:
        return decide_cancel(request, vm, ground, moment, answer)
    placement = vm.placement.value if vm.placement else None
    if placement is None or placement.operation != request.id:
        if _is_too_old(request, moment):
            return answer(Progress.FAILED, "it expired before it could begin")
        if off := forbids_request(request, vm, ground.snapshot):
            return answer(Progress.REJECTED, f"{vm.name}: {off.in_full}")
        kept = kept_for(vm, ground)
        if request.verb in STARTS or (kept and request.verb is Verb.RELOCATE):
            return decide_start(request, vm, placement, ground, moment, answer)
        if kept and request.verb in (Verb.MIGRATE, Verb.RESTART):
            return answer(Progress.REJECTED, f"{vm.name} does not run: {why_kept(vm, kept, ground)}")
        return _begin(request, vm, placement, ground, moment, answer)
    return _go_on(request, vm, placement, ground, moment, answer)


def _begin(
    request: Request, vm: VmView, placement: Placement | None, ground: Field, moment: Moment, answer: _Answer
) -> Decision | None:
    assert vm.spec
    if request.verb is Verb.CONFIRM_GONE:
        return _confirm_gone(request, vm, placement, ground, moment, answer)
    if placement is not None and placement.phase is Phase.DEPARTED:
        # Left waiting, it would also keep the confirmation waiting that alone can end this.
        return answer(Progress.REJECTED, f"{vm.name} has departed: {placement.ended_why}")
    if placement is None or placement.phase is Phase.STOPPED:
        if vm.spec.value.desired is Desired.RUNNING:
            return None  # being started: the operation follows
        return answer(
            Progress.REJECTED, f"{vm.name} is {vm.spec.value.desired}; start it with: vmha vm start {vm.name}"
        )
    if vm.spec.value.desired is not Desired.RUNNING:
        return answer(Progress.REJECTED, f"{vm.name} is to be {vm.spec.value.desired}")
    if placement.phase is not Phase.HELD:
        return None
    if placement.session in ground.snapshot.fenced:
        return None
    if turn := wait_for_its_turn(request, vm, ground):
        return turn
    assert placement.node
    match request.verb:
        case Verb.MIGRATE:
            return begin_migration(request, vm, placement, ground, moment, answer)
        case Verb.RELOCATE:
            choice = pick(request, vm, placement.node, ground, moving=False)
            if choice.node is None:
                return answer(Progress.REJECTED, f"{refused(request, choice)}; it was not stopped", choice.candidates)
            text = f"relocation to {choice.node} asked for by {request.author}"
        case _:
            return begin_restart(request, vm, placement, ground, moment, answer)
    reason = Reason(rule=f"operator-asked-to-{request.verb}", text=text)
    stop = change(vm, Change.STOP, transitions.ask_stop(placement, reason, moment.wall, operation=request.id))
    return Decision(steps=(*stop.steps, *answer(Progress.RUNNING, "stopping it").steps))


def _go_on(
    request: Request, vm: VmView, placement: Placement, ground: Field, moment: Moment, answer: _Answer
) -> Decision | None:
    """The placement carries this operation: how far is it?"""
    match placement.phase:
        case Phase.STOPPED:
            return _start_again(request, vm, placement, ground, moment, answer)
        case Phase.HELD:
            if request.kind in IN_PLACE:
                if placement.deed and placement.deed.stage is DeedStage.ASKED and _is_too_old(request, moment):
                    return give_up(request, vm, placement, answer)
                return conclude_in_place(request, vm, placement, moment, answer)
            return _conclude(request, vm, placement, ground, moment, answer)
        case Phase.DEPARTED:
            return answer(Progress.FAILED, f"{vm.name} has departed: {placement.ended_why}")
        case _:
            return None


def _start_again(
    request: Request, vm: VmView, placement: Placement, ground: Field, moment: Moment, answer: _Answer
) -> Decision | None:
    assert vm.spec
    if vm.spec.value.desired is not Desired.RUNNING:
        return answer(Progress.FAILED, f"{vm.name} was asked to be {vm.spec.value.desired} meanwhile")
    if turn := wait_for_its_turn(request, vm, ground):
        return turn
    if no_start(ground) or ground.snapshot.observations(vm):
        return None  # something of it is still seen: the ordinary rules adopt it or wait
    if placement.ended is RunEnd.START_FAILED:
        return answer(Progress.FAILED, f"it did not start: {placement.ended_why}")
    if waits_for(vm, ground)[0]:
        return None  # the ordinary rules say for what
    home = placement.last_node
    if request.verb is Verb.RESTART and home:
        choice = choose(vm.spec.value, ground, prefer=home)
    else:
        choice = pick(request, vm, home or NodeName(""), ground, moving=False)
        if choice.node is None:
            choice = choose(vm.spec.value, ground, prefer=home)
    if choice.node is None:
        return None  # the ordinary rules say why it waits
    in_place = request.verb is Verb.RESTART and choice.node == home
    where = f"in place on {home}" if in_place else why_there(vm.spec.value, choice, ground)
    text = f"{request.verb} asked for by {request.author}; {where}"
    reason = Reason(rule=f"operator-asked-to-{request.verb}", text=text, candidates=choice.candidates)
    new = transitions.assign(vm.name, placement, choice.node, reason, moment.wall, operation=request.id)
    if request.verb is Verb.RELOCATE:
        new = replace(new, failback_after=ground.snapshot.revision)
    return place(vm, Change.ASSIGN, new, vm.spec.value, ground)


def _conclude(
    request: Request, vm: VmView, placement: Placement, ground: Field, moment: Moment, answer: _Answer
) -> Decision | None:
    assert placement.node
    if request.verb is Verb.MIGRATE and placement.ended_why:
        return try_elsewhere(request, vm, placement, ground, moment, answer)
    seen = vm.seen.get(placement.node)
    if seen is None or seen.session != placement.session or seen.state is not SeenState.RUNNING:
        return None
    if seen.health and seen.health.gated:
        return None  # started, and not yet as its start gate wants it
    if _is_still_measured(placement, moment):
        return Decision(retry_in_s=left_of(MEASURE_PATIENCE_S, placement.since, moment.wall))
    if request.verb is not Verb.RESTART and request.node not in (None, placement.node):
        return answer(Progress.FAILED, f"{vm.name} runs on {placement.node}; {request.node} could not take it")
    took = f"; {placement.moved}" if placement.moved and request.verb is Verb.MIGRATE else ""
    did = {Verb.START: "is started, and ", Verb.ENABLE: "is enabled, and "}.get(request.verb, "")
    return answer(Progress.DONE, f"{vm.name} {did}runs on {placement.node}{took}")


def _is_still_measured(placement: Placement, moment: Moment) -> bool:
    """It has arrived, and its node has not said yet what that took; an agent of an earlier version never does."""
    is_unsaid = placement.arrival and placement.moved is None
    return is_unsaid and left_of(MEASURE_PATIENCE_S, placement.since, moment.wall) > 0


def _confirm_gone(
    request: Request, vm: VmView, placement: Placement | None, ground: Field, moment: Moment, answer: _Answer
) -> Decision:
    assert vm.spec
    text = f"{request.author} confirmed that it runs nowhere outside the cluster"
    if placement is None or placement.phase is not Phase.DEPARTED:
        known = _steps_that_confirm(vm, placement, text, ground, moment)
        seen = ground.snapshot.observations(vm)
        if known and not seen:
            return Decision(steps=(*known, *answer(Progress.DONE, text).steps))
        why = f"{seen[0].node} shows it" if known else "nothing to confirm"
        return answer(Progress.REJECTED, f"{vm.name} has not departed; {why}")
    new = transitions.release(placement, RunEnd.ASKED, text, moment.wall)
    new = replace(new, reason=Reason(rule="operator-confirmed-gone", text=text))
    freed = change(vm, Change.RELEASE, new)
    return Decision(steps=(*freed.steps, *answer(Progress.DONE, text).steps))


def _steps_that_confirm(
    vm: VmView, placement: Placement | None, text: str, ground: Field, moment: Moment
) -> tuple[Step, ...]:
    """What an operator's word settles of where a vm that nobody holds may run."""
    assert vm.spec
    before = unresolved(vm.spec.value, ground.snapshot)
    steps: list[Step] = [ForgetRemoved(id=one.value.id, expected=one.modified) for one in before]
    if placement is None or placement.epoch == 0:
        offline = [name for name, verdict in ground.verdicts.items() if verdict.condition is Condition.OFFLINE]
        if any(not_known_of_offline(name, vm, ground.snapshot) for name in offline):
            reason = Reason(rule="operator-confirmed-gone", text=text)
            new = transitions.begin_record(vm.name, placement, reason, moment.wall)
            steps.extend(change(vm, Change.RELEASE, new).steps)
    return tuple(steps)


def _confirm_off(request: Request, ground: Field, moment: Moment, answer: _Answer) -> Decision:
    """A person's word that a node is off. Never against a node that is seen alive."""
    node = request.node
    view = ground.snapshot.nodes.get(node) if node else None
    if node is None or view is None:
        return answer(Progress.REJECTED, f"there is no node {node}")
    if view.beat is None:
        return _confirm_former(request, node, ground, answer)
    if request.session is not None and request.session != view.beat.value.session:
        text = f"{node} has been switched on since: confirm it again if it is off again"
        return answer(Progress.REJECTED, text)
    verdict = ground.verdicts[node]
    if verdict.is_alive:
        text = f"{node} is alive: it committed a beat within the last {moment.silence_s.get(node, 0.0):.1f} s"
        return answer(Progress.REJECTED, text)
    how = f"{request.author} confirmed that {node} is powered off"
    evict = EvictSession(
        node=node,
        session=view.beat.value.session,
        beat_created=view.beat.created,
        beat_modified=view.beat.modified,  # a beat meanwhile would show that the person is mistaken
        proof=Proof.OPERATOR_CONFIRMED,
        how=how,
        reason=Reason(rule="operator-confirmed-off", text=how, cause=cause_of_loss(view)),
        silent_s=moment.silence_s.get(node, 0.0),
        former=former_sessions(ground.snapshot, node, view.beat.value.session),
    )
    return Decision(steps=(evict,))


def _confirm_former(request: Request, node: NodeName, ground: Field, answer: _Answer) -> Decision:
    """No session now; earlier ones may have left claims that wait for a proof."""
    former = former_sessions(ground.snapshot, node, None)
    view = ground.snapshot.nodes[node]
    if is_to_be_on(view):
        off = leave_off(view, f"stays off: {request.author} confirmed that it is powered off")
        return Decision(steps=(off,))
    if not former:
        kept = [vm.name for vm in ground.snapshot.vms.values() if kept_for(vm, ground) == node]
        if kept:
            text = f"no proof of {node} is waited for; what waits for {node} to be back: {', '.join(kept)}"
            return answer(Progress.DONE, text)
        return answer(Progress.DONE, f"{node} has no session: nothing of it is waited for")
    how = f"{request.author} confirmed that {node} is powered off"
    evict = EvictSession(
        node=node,
        session=former[0],
        beat_created=Revision(0),
        beat_modified=None,
        proof=Proof.OPERATOR_CONFIRMED,
        how=how,
        reason=Reason(rule="operator-confirmed-off", text=how, cause=of_loss(node, former[0])),
        former=former[1:],
    )
    return Decision(steps=(evict,))


def open_requests(ground: Field) -> tuple[dict[str, Request], list[Request]]:
    """The oldest open request of each vm (later ones wait for it, but for a cancel), and those that concern a node."""
    by_vm: dict[str, Request] = {}
    about_nodes: list[Request] = []
    is_open = ground.snapshot.is_open  # most have ended, and are kept for a while
    for request in sorted(filter(is_open, ground.snapshot.requests.values()), key=lambda r: (r.asked_at, r.id)):
        if request.verb is Verb.CONFIRM_OFF:
            about_nodes.append(request)
        else:
            first = by_vm.setdefault(request.vm or "", request)
            if request.verb is Verb.CANCEL and first.verb is not Verb.CANCEL:
                by_vm[request.vm or ""] = request  # what it calls off comes to its own end after it
    return by_vm, about_nodes
