"""A vm that a living session holds: stopped when it is not wanted, moved off a node that leaves, or brought home."""

from vmha.model.ids import CauseId
from vmha.model.records import Placement, Reason, SeenState
from vmha.model.vm import Desired
from vmha.policy.deciding.decision import NOTHING, Decision, change, in_short, migrate, wait, why_there
from vmha.policy.deciding.dependencies import end_with, wait_for_dependents
from vmha.policy.deciding.displace import give_way
from vmha.policy.deciding.failback import wait_for
from vmha.policy.deciding.follow import follow
from vmha.policy.deciding.host_shutdown import stop_on_leaving_host
from vmha.policy.deciding.making_room import clear, room_is_made, with_thanks
from vmha.policy.deciding.passing import NO_NODE
from vmha.policy.members.membership import Condition
from vmha.policy.placing.field import Field
from vmha.policy.placing.limits import no_migration_out_of
from vmha.policy.placing.placement import choose, find_better, left_of
from vmha.policy.placing.room_asked import WAITS
from vmha.policy.room.for_all import choose_leaving
from vmha.policy.state import transitions
from vmha.policy.state.causes import of_drain
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change, SettleDesired, Waiting

CANCELLED_REST_S = 60.0
"""A vm whose migration was called off is let alone for this long, then a drain goes on."""


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
    target, rest_s = find_better(vm.spec.value, ground, held.node, after=held.failback_after, failures=held.failures)
    if target is None:
        return NOTHING if rest_s is None else Decision(retry_in_s=rest_s)
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
