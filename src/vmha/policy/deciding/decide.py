"""What is to be done about one vm now. One vm gets at most one change of its placement in a plan.

Every function here answers with a ``Decision``; the branches are the phases of a placement, the leaves build the step.
"""

from dataclasses import replace

from vmha.model.ids import CauseId, NodeName
from vmha.model.records import (
    Phase,
    Placement,
    Reason,
    RunEnd,
    SeenState,
    Stored,
)
from vmha.model.vm import AfterShutdown, Desired, Recovery, VmSpec
from vmha.policy.deciding import preempt
from vmha.policy.deciding.autostart import stay_down, wait_until_settled
from vmha.policy.deciding.decision import (
    NOTHING,
    Decision,
    adopt,
    change,
    in_short,
    in_words,
    migrate,
    place,
    seen_running,
    wait,
    why_there,
)
from vmha.policy.deciding.dependencies import end_with, gate, mark_stuck, take_back, wait_for_dependents
from vmha.policy.deciding.displace import ask_for_room, gave_way_to, give_way
from vmha.policy.deciding.failback import wait_for
from vmha.policy.deciding.follow import follow
from vmha.policy.deciding.frozen_with_host import is_back, let_go, wait_for_host
from vmha.policy.deciding.host_shutdown import stop_on_leaving_host
from vmha.policy.deciding.leaving import decide_left
from vmha.policy.deciding.making_room import clear, keep_for, room_is_made, waits_for_moves, with_thanks
from vmha.policy.deciding.passing import NO_NODE, UNKNOWN
from vmha.policy.deciding.post_copy import runs_at_once
from vmha.policy.deciding.why_started import why_started
from vmha.policy.members.membership import NOT_PUBLISHED, Condition, Verdict
from vmha.policy.members.removed import find_unresolved, not_known_of_offline, remember
from vmha.policy.placing.choice import Choice
from vmha.policy.placing.doubts import UNHEARD, who_may_not_know
from vmha.policy.placing.field import Field
from vmha.policy.placing.limits import RULE, no_migration_out_of, no_start
from vmha.policy.placing.placement import choose, choose_leading, find_better, left_of
from vmha.policy.placing.room_asked import WAITS
from vmha.policy.placing.room_for_all import choose_leaving, choose_start, keep_its_turn
from vmha.policy.placing.room_given_back import choose_for_lost
from vmha.policy.placing.services import relocates
from vmha.policy.state import transitions
from vmha.policy.state.causes import of_drain, of_loss, of_state
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change, PlacementStep, SettleDesired, Waiting

RESTARTS_AT_ONCE = 2
LONGEST_RESTART_REST_S = 60.0
"""Between two starts of a guest that keeps ending by itself."""

CANCELLED_REST_S = 60.0
"""A vm whose migration was called off is let alone for this long, then a drain goes on."""

CLAIM_PATIENCE_S = 30.0
"""An assignment that its node has not claimed for this long is given to another."""


NOT_KNOWN = "whether it runs there is not known"
HAS_YET_TO_LOOK = f"has not looked for it yet: {NOT_KNOWN}"
IS_JOINING = f"{NOT_PUBLISHED}: {NOT_KNOWN}"
NOT_ALL_HAVE_LOOKED = "not every node has looked for it yet: whether it runs somewhere is not known"
"""On record, whichever node is waited for: another one every instant while nodes join, for each of the vms."""


def decide_unmanaged(vm: VmView, ground: Field, moment: Moment) -> Decision:
    """Its definition was removed: forget the claim, touch nothing. A guest on its way arrives first."""
    if ground.snapshot.is_unreadable("vms", vm.name, "spec"):
        return Decision(waiting=Waiting(vm=vm.name, text="its definition can not be read"))
    if vm.placement is None or vm.placement.value.phase is Phase.MIGRATING:
        return NOTHING
    if vm.placement.value.phase is Phase.ASSIGNED and vm.placement.value.arrival:
        return NOTHING
    if unknown := remember(vm, ground.snapshot, moment.wall):
        return Decision(steps=(unknown,))  # what is known of where it runs outlives the claim
    reason = Reason(rule="removing-a-vm-touches-no-guest", text="it was removed from the cluster; it is left as it is")
    return Decision(
        steps=(
            PlacementStep(
                change=Change.DISOWN, vm=vm.name, expected=vm.placement.modified, placement=None, reason=reason
            ),
        )
    )


def decide_stopped(vm: VmView, ground: Field, moment: Moment) -> Decision:
    """Nobody holds it."""
    assert vm.spec
    spec = vm.spec.value
    running = seen_running(vm, ground)
    if running and spec.desired is not Desired.DISABLED:
        return adopt(vm, running[0], ground, moment, why="it was found running there and nobody held it")
    if spec.desired is Desired.AS_FOUND:
        return _settle_as_found(vm, ground)
    if spec.desired is not Desired.RUNNING:
        return let_go(vm)
    if down := stay_down(vm, None, ground, moment):
        return down
    if unknown := unsettled(vm, ground):
        noted = NOT_ALL_HAVE_LOOKED if unknown.endswith((HAS_YET_TO_LOOK, IS_JOINING)) else ""
        return wait(vm, UNKNOWN, unknown, noted=noted, moment=moment)
    placement = vm.placement.value if vm.placement else None
    if placement and (settled := _by_ending(vm.spec, vm.placement, spec, placement, moment)):
        return settled
    if placement and (resting := _rest(vm, placement, moment)):
        return resting
    if away := wait_for_host(vm, ground, moment):
        return away
    if unready := (None if is_back(placement, ground) else wait_until_settled(vm, ground)) or gate(vm, ground, moment):
        return unready
    return _start(vm, ground, moment)


def _settle_as_found(vm: VmView, ground: Field) -> Decision:
    assert vm.spec
    if unknown := unsettled(vm, ground):
        return Decision(waiting=Waiting(vm=vm.name, text=unknown), retry_in_s=1.0)
    reason = Reason(rule="adding-a-vm-starts-nothing", text="it was added and runs nowhere; start it with: vm start")
    return Decision(
        steps=(SettleDesired(vm=vm.name, expected=vm.spec.modified, desired=Desired.STOPPED, reason=reason),)
    )


def unsettled(vm: VmView, ground: Field) -> str:
    """Unknown is not absent: what must be known before a vm is started that nobody holds. '' when all is known."""
    for seen in ground.snapshot.observations(vm):
        if seen.second:
            return f"{seen.node} still has the second copy that was paused there: it is ended first"
        return f"{seen.node} still shows it as {seen.state}"
    if vm.spec and (unresolved := find_unresolved(vm.spec.value, ground.snapshot)):
        return unresolved
    if vm.placement and vm.placement.value.epoch > 0:
        return ""  # its last holder reported it gone
    for name in who_may_not_know(vm.spec.created, ground) if vm.spec else ground.verdicts:
        if unknown := _not_known_of(name, ground.verdicts[name], vm, ground):
            return unknown
    return ""


def _not_known_of(name: NodeName, verdict: Verdict, vm: VmView, ground: Field) -> str:
    """Why this node might run a vm that nobody ever held."""
    if verdict.condition in UNHEARD:
        return f"{name} {verdict.refusal}: {NOT_KNOWN}"
    assert vm.spec
    if verdict.condition is Condition.OFFLINE:
        return not_known_of_offline(name, vm, ground.snapshot)
    status = ground.snapshot.nodes[name].current_status
    if status and status.looked_for < vm.spec.created:
        return f"{name} {HAS_YET_TO_LOOK}"
    return ""


def _by_ending(
    stored: Stored[VmSpec], held: Stored[Placement] | None, spec: VmSpec, placement: Placement, moment: Moment
) -> Decision | None:
    """Endings whose policy is not to start again. The ending is acknowledged in the same transaction."""
    assert held
    desired, text = None, ""
    match placement.ended:
        case RunEnd.GUEST_SHUTDOWN if spec.on_guest_shutdown is AfterShutdown.STOP:
            desired, text = Desired.STOPPED, f"its guest powered itself off on {placement.last_node}"
        case RunEnd.DESTROYED if spec.on_outside_stop is AfterShutdown.STOP:
            desired, text = Desired.STOPPED, f"somebody ended it by hand on {placement.last_node}"
        case RunEnd.SAVED:
            desired, text = Desired.STOPPED, f"somebody saved it by hand on {placement.last_node}"
        case RunEnd.CRASHED if spec.recovery is Recovery.DISABLE:
            desired, text = Desired.DISABLED, f"it crashed on {placement.last_node} and its recovery is 'disable'"
        case RunEnd.CRASHED if spec.recovery is Recovery.RESTART_DISABLE and _is_used_up(spec, placement, moment):
            desired, text = Desired.DISABLED, f"it crashed on {placement.last_node} after {spec.max_restarts} restarts"
        case _:
            return None
    reason = Reason(rule=f"ending-{placement.ended}", text=text, cause=of_state(placement))
    acknowledged = replace(placement, ended=RunEnd.ASKED, reason=reason)
    return Decision(
        steps=(
            SettleDesired(
                vm=placement.vm,
                expected=stored.modified,
                desired=desired,
                reason=reason,
                acknowledged=(held.modified, acknowledged),
            ),
        )
    )


def _recent_restarts(spec: VmSpec, placement: Placement, moment: Moment) -> tuple[float, ...]:
    window = spec.restart_window_s
    return tuple(at for at in placement.restarts if not window or moment.wall - at < window)


def _is_used_up(spec: VmSpec, placement: Placement, moment: Moment) -> bool:
    return 0 < spec.max_restarts <= len(_recent_restarts(spec, placement, moment))


def _rest(vm: VmView, placement: Placement, moment: Moment) -> Decision | None:
    """A guest that ends again and again is not started in a hot loop: twice at once, then after 2, 4, 8 ... seconds."""
    endings = transitions.recent_endings(placement, moment.wall)
    if placement.ended not in transitions.UNASKED or len(endings) <= RESTARTS_AT_ONCE:
        return None
    left = left_of(min(LONGEST_RESTART_REST_S, 2.0 ** (len(endings) - RESTARTS_AT_ONCE)), placement.since, moment.wall)
    if left <= 0:
        return None
    text = f"it ended {len(endings)} times in a short while ({placement.ended_why}); it is started again after a rest"
    resting = wait(vm, "it-ends-again-and-again", text, moment=moment)
    return replace(resting, retry_in_s=left)


def _start(vm: VmView, ground: Field, moment: Moment) -> Decision:
    """First start, restart after a failure, or the next try."""
    assert vm.spec
    spec, placement = vm.spec.value, vm.placement.value if vm.placement else None
    if busy := no_start(ground):
        keep_its_turn(spec, ground, placement.failures if placement else ())
        return wait(vm, RULE, busy, moment=moment)
    choice, restarts = _where_to_start(spec, placement, ground, moment)
    if choice.node is None:
        return _no_node(vm, choice, in_short(choice), ground, moment)
    reason = with_thanks(why_started(spec, placement, choice, ground), vm, ground)
    new = transitions.assign(vm.name, placement, choice.node, reason, moment.wall, restarts=restarts)
    if placement and placement.ended in (RunEnd.CRASHED, RunEnd.START_FAILED) and choice.node != placement.last_node:
        new = replace(new, failback_after=ground.snapshot.revision)  # or failback undoes it: it failed there just now
    return place(vm, Change.ASSIGN, new, spec, ground)


def _no_node(vm: VmView, choice: Choice, text: str, ground: Field, moment: Moment) -> Decision:
    """Perhaps somebody has to give way to it; and who is to start after it need not wait any more."""
    assert vm.spec
    if made := room_is_made(vm.name, ground):
        keep_for(vm.spec.value, made, ground)
        mark_stuck(vm, choice, ground)
        return wait(vm, WAITS, made.in_words, clear(made, choice), moment=moment)
    ask_for_room(vm, ground, moment)
    if not waits_for_moves(ground):
        preempt.ask_for_room(vm, choice, ground, moment.wall)
    if rival := gave_way_to(vm):
        text = f"it gave way to {rival}; {text}"
    mark_stuck(vm, choice, ground)
    return wait(vm, NO_NODE, text, choice, moment=moment)


def _where_to_start(
    spec: VmSpec, placement: Placement | None, ground: Field, moment: Moment
) -> tuple[Choice, tuple[float, ...]]:
    if placement is None:
        return choose_start(spec, ground), ()
    restarts = _recent_restarts(spec, placement, moment)
    last = placement.last_node
    if placement.ended is RunEnd.START_FAILED:
        retry = choose_leading if relocates(spec, ground) else choose_start
        return retry(spec, ground, failures=placement.failures), restarts
    if placement.ended not in (RunEnd.CRASHED, RunEnd.GUEST_SHUTDOWN, RunEnd.DESTROYED) or last is None:
        return choose_start(spec, ground, prefer=last if placement.kept_by else None), restarts
    relocate = transitions.must_leave(placement) or relocates(spec, ground) or _is_used_up(spec, placement, moment)
    if relocate and placement.ended is RunEnd.CRASHED:
        elsewhere = choose_leading(spec, ground, avoid={last: "just failed there (recovery: another node first)"})
        if elsewhere.node is not None:
            return elsewhere, ()
    remembered = max(1, spec.max_restarts)  # more are never counted, and the record must not grow for ever
    return choose_start(spec, ground, prefer=last), (*restarts, moment.wall)[-remembered:]


def decide_assigned(vm: VmView, held: Placement, ground: Field, moment: Moment) -> Decision:
    """Not claimed yet, so it may be taken back without proof: the claim compares the same record."""
    assert vm.spec
    assert vm.placement
    assert held.node
    if vm.spec.value.desired in (Desired.STOPPED, Desired.DISABLED) and not held.arrival:
        reason = Reason(rule="not-wanted-running", text=f"it is to be {vm.spec.value.desired}", cause=held.reason.cause)
        return change(vm, Change.WITHDRAW, transitions.withdraw(held, reason, moment.wall))
    running = [seen for seen in seen_running(vm, ground) if seen.node != held.node]
    if running:
        return adopt(vm, running[0], ground, moment, why="it was found running there before it was started")
    if not held.arrival and (ended := end_with(vm, held, ground, moment)):
        return ended
    verdict = ground.verdicts.get(held.node)
    waited = moment.unclaimed_s.get(vm.name, 0.0)
    if verdict and verdict.is_alive and waited < CLAIM_PATIENCE_S:
        return Decision(retry_in_s=CLAIM_PATIENCE_S - waited)
    if verdict and verdict.condition is Condition.SUSPECT and waited < CLAIM_PATIENCE_S:
        return Decision(retry_in_s=1.0)  # its lease may be back in a moment; a lost one is seen soon enough
    if not held.arrival and (unready := take_back(vm, held, ground, moment)):
        return unready
    why = verdict.refusal if verdict and not verdict.is_alive else f"did not claim it for {waited:.0f} s"
    choice = choose(vm.spec.value, ground, avoid={held.node: why})
    if choice.node is None:
        return _no_node(vm, choice, in_short(choice), ground, moment)
    text = f"{held.node} {why}; {why_there(vm.spec.value, choice, ground)}"
    reason = Reason(
        rule="unclaimed-assignment-moves-on", text=text, cause=held.reason.cause, candidates=choice.candidates
    )
    new = transitions.assign(vm.name, held, choice.node, reason, moment.wall, operation=held.operation)
    return place(vm, Change.ASSIGN, new, vm.spec.value, ground)


def decide_lost(vm: VmView, held: Placement, ground: Field, moment: Moment) -> Decision:
    """Its holder's session is over: nothing is done without the proof on record, and then at once."""
    assert vm.spec
    assert held.session
    proof = ground.snapshot.fenced.get(held.session)
    if proof is None:
        verdict = ground.verdicts.get(held.node) if held.node else None
        text = f"{held.node} {verdict.refusal or 'has a new session' if verdict else 'is not known'}"
        return Decision(waiting=Waiting(vm=vm.name, text=f"{text}; waiting for proof that it does not run there"))
    running = seen_running(vm, ground)
    if running:
        return adopt(vm, running[0], ground, moment, why=f"{held.node} lost it and it was found running there")
    if left := decide_left(vm, held, ground.snapshot, moment):
        return left
    if unsure := _may_run_at_target(vm, held, ground):
        return Decision(waiting=Waiting(vm=vm.name, text=unsure), retry_in_s=1.0)
    if vm.spec.value.desired in (Desired.STOPPED, Desired.DISABLED):
        new = transitions.forget_holder(held, in_words(proof), moment.wall)
        return change(vm, Change.RELEASE, new, fenced=held.session)
    if down := stay_down(vm, held, ground, moment):
        return down
    arrived, arriving = _on_their_way(vm, ground)
    if arriving:
        return Decision(waiting=Waiting(vm=vm.name, text=f"{arriving} is still receiving it"), retry_in_s=1.0)
    if busy := no_start(ground):
        if vm.name not in ground.ties.needs:
            keep_its_turn(vm.spec.value, ground)
        return wait(vm, RULE, f"{in_words(proof)}; {busy}", moment=moment)
    # It boots anew even where it stands complete: its source may have run on, not having been told, so that what stands
    # there is older than the disk. That node ends it before it starts it, and no lock of it is in the way of others.
    if unready := gate(vm, ground, moment):
        return unready
    choice = choose_for_lost(vm.spec.value, held, ground, prefer=arrived)
    if choice.node is None:
        return _no_node(vm, choice, f"{in_words(proof)}; {in_short(choice)}", ground, moment)
    reason = Reason(
        rule="lost-vm-is-recovered",
        text=f"{in_words(proof)}; {why_there(vm.spec.value, choice, ground)}",
        cause=of_loss(proof.node, proof.session),
        candidates=choice.candidates,
    )
    reason = with_thanks(reason, vm, ground)
    lost = transitions.forget_holder(held, in_words(proof), moment.wall)
    new = transitions.assign(vm.name, lost, choice.node, reason, moment.wall, operation=held.operation)
    return place(vm, Change.RECOVER, new, vm.spec.value, ground, fenced=held.session)


def _may_run_at_target(vm: VmView, held: Placement, ground: Field) -> str:
    """Where libvirt switches by itself, the target may run it without having said so yet: unknown is not absent.

    So it is where a hand was migrating it to a member.
    """
    assert vm.spec
    is_libvirts = held.phase is Phase.MIGRATING and runs_at_once(held, vm.spec.value)
    to = held.target if is_libvirts else held.leaving_to
    target = ground.snapshot.nodes.get(to) if to else None
    if target is None or target.beat is None:
        return ""  # its session is over, and what ran in it with it
    verdict, status = ground.verdicts[target.name], target.current_status
    if verdict.is_alive and status is not None and status.eligible:
        return ""
    why = verdict.refusal or "has not said what runs on it"
    return f"{held.node} is fenced, and {target.name} {why}: libvirt may have let it run there"


def _on_their_way(vm: VmView, ground: Field) -> tuple[NodeName | None, NodeName | None]:
    """Where a migration that lost its source has brought the vm completely, and where it may still be coming in."""
    seen = ground.snapshot.observations(vm)
    arrived = next((o.node for o in seen if o.state is SeenState.ARRIVED), None)
    arriving = next((o.node for o in seen if o.state is SeenState.INCOMING), None)
    return arrived, arriving


def decide_held(vm: VmView, held: Placement, ground: Field, moment: Moment) -> Decision:
    """Running where it should, most of the time: stop it, move it off a node that leaves, or bring it home."""
    assert vm.spec
    assert held.node
    spec = vm.spec.value
    if spec.desired is Desired.AS_FOUND:
        reason = Reason(rule="found-running", text=f"it runs on {held.node}")
        step = SettleDesired(vm=vm.name, expected=vm.spec.modified, desired=Desired.RUNNING, reason=reason)
        return Decision(steps=(step,))
    if spec.desired is not Desired.RUNNING:
        if first := wait_for_dependents(vm, ground):
            return first
        reason = Reason(rule="not-wanted-running", text=spec.desired_why or f"it is to be {spec.desired}")
        return change(vm, Change.STOP, transitions.ask_stop(held, reason, moment.wall))
    if stopping := stop_on_leaving_host(vm, held, ground, moment):
        return stopping
    if leaving := end_with(vm, held, ground, moment) or give_way(vm, held, ground, moment):
        return leaving
    seen = vm.seen.get(held.node)
    if seen is None or seen.state is not SeenState.RUNNING or seen.session != held.session:
        return NOTHING
    verdict = ground.verdicts[held.node]
    if not verdict.is_alive:
        return NOTHING  # suspected: what was seen there may be of the past
    if held.leaving:
        return NOTHING  # a hand is migrating it
    if held.deed is not None and held.deed.is_pending:
        return NOTHING  # an operator has its guest boot again just now
    if (together := follow(vm, held, ground, moment)) is not None:
        return together
    if verdict.condition in (Condition.MAINTENANCE, Condition.LEAVING):
        return _drain(vm, held, ground, moment, verdict.refusal)
    return _failback(vm, held, ground, moment)


def _drain(vm: VmView, held: Placement, ground: Field, moment: Moment, why: str) -> Decision:
    assert vm.spec
    assert held.node
    if resting := _was_called_off(vm, held, moment):
        return resting
    if busy := no_migration_out_of(held.node, ground):
        return Decision(waiting=Waiting(vm=vm.name, text=f"{held.node} {why}; {busy}"), retry_in_s=1.0)
    avoid = {seen.node: "has something of it already" for seen in ground.snapshot.observations(vm)} | {held.node: why}
    choice = choose_leaving(vm.spec.value, ground, owner=held.node, avoid=avoid, failures=held.failures)
    if made := room_is_made(vm.name, ground):
        return wait(vm, WAITS, f"{held.node} {why}; {made.in_words}", clear(made, choice), moment=moment)
    if choice.node is None:
        return wait(vm, NO_NODE, f"{held.node} {why}; {in_short(choice)}", choice, moment=moment)
    reason = Reason(
        rule="a-node-that-leaves-is-drained",
        text=f"{held.node} {why}; {why_there(vm.spec.value, choice, ground)}",
        cause=of_drain(held.node),
        candidates=choice.candidates,
    )
    reason = with_thanks(reason, vm, ground)
    return migrate(vm, held, choice.node, reason, ground=ground, moment=moment)


def _was_called_off(vm: VmView, held: Placement, moment: Moment) -> Decision | None:
    """Sent off again at once, it could not be called off at all."""
    if held.cancel is None or not held.ended_why:
        return None
    left = left_of(CANCELLED_REST_S, held.since, moment.wall)
    if left <= 0:
        return None
    text = f"{held.cancel_by} called its migration off; its node is still to be drained, after a rest"
    return Decision(waiting=Waiting(vm=vm.name, text=text), retry_in_s=left)


def _failback(vm: VmView, held: Placement, ground: Field, moment: Moment) -> Decision:
    assert vm.spec
    assert held.node
    target = find_better(vm.spec.value, ground, held.node, after=held.failback_after, failures=held.failures)
    if target is None:
        return NOTHING
    why_not, left_s = wait_for(vm.spec.value.failback, target, ground)
    if why_not:
        return Decision(waiting=Waiting(vm=vm.name, text=why_not), retry_in_s=left_s)
    if busy := no_migration_out_of(held.node, ground):
        text = f"{target} is more preferred than {held.node}; {busy}"
        return Decision(waiting=Waiting(vm=vm.name, text=text), retry_in_s=1.0)
    domain = ground.domain_of(vm.spec.value)
    choice = choose(vm.spec.value, ground, owner=held.node, failures=held.failures, moving=True)
    reason = Reason(
        rule="failback-to-a-more-preferred-node",
        text=f"{target} is more preferred than {held.node} in failover domain {domain.name if domain else ''}",
        cause=CauseId(f"failback-{target}"),
        candidates=choice.candidates,
    )
    return migrate(vm, held, target, reason, ground=ground, moment=moment)


def decide_departed(vm: VmView, ground: Field, moment: Moment) -> Decision:
    running = seen_running(vm, ground)
    if running:
        return adopt(vm, running[0], ground, moment, why="it was migrated there by hand")
    assert vm.placement
    return Decision(waiting=Waiting(vm=vm.name, text=vm.placement.value.ended_why))
