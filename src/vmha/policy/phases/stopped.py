"""A vm that nobody holds: adopted where it is found, left down where that is its policy, or started.

What speaks against a start is asked one after another; the first that does is what it waits for.
"""

from dataclasses import replace

from vmha.model.records import Placement, Reason, RunEnd, Stored
from vmha.model.vm import AfterShutdown, Desired, Recovery, VmSpec
from vmha.policy.deciding.autostart import stay_down, wait_until_settled
from vmha.policy.deciding.decision import Decision, adopt, seen_running, wait
from vmha.policy.deciding.dependencies import gate
from vmha.policy.deciding.frozen_with_host import is_back, let_go, wait_for_host
from vmha.policy.deciding.passing import UNKNOWN
from vmha.policy.deciding.starting import is_used_up, start
from vmha.policy.deciding.unsettled import HAS_YET_TO_LOOK, IS_JOINING, NOT_ALL_HAVE_LOOKED, unsettled
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import left_of
from vmha.policy.state import transitions
from vmha.policy.state.causes import of_state
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import SettleDesired, Waiting

RESTARTS_AT_ONCE = 2
LONGEST_RESTART_REST_S = 60.0
"""Between two starts of a guest that keeps ending by itself."""


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
    return start(vm, ground, moment)


def _settle_as_found(vm: VmView, ground: Field) -> Decision:
    assert vm.spec
    if unknown := unsettled(vm, ground):
        return Decision(waiting=Waiting(vm=vm.name, text=unknown), retry_in_s=1.0)
    reason = Reason(rule="adding-a-vm-starts-nothing", text="it was added and runs nowhere; start it with: vm start")
    return Decision(
        steps=(SettleDesired(vm=vm.name, expected=vm.spec.modified, desired=Desired.STOPPED, reason=reason),)
    )


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
        case RunEnd.CRASHED if spec.recovery is Recovery.RESTART_DISABLE and is_used_up(spec, placement, moment):
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
