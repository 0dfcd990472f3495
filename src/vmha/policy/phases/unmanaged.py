"""A vm whose definition was removed, or can not be read."""

from vmha.model.records import Phase, Placement, Reason
from vmha.policy.deciding.decision import NOTHING, Decision
from vmha.policy.members.removed import remember
from vmha.policy.phases.assigned import CLAIM_PATIENCE_S
from vmha.policy.placing.field import Field
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change, PlacementStep, Waiting


def decide_unmanaged(vm: VmView, ground: Field, moment: Moment) -> Decision:
    """Its definition was removed: forget the claim, touch nothing. A guest on its way arrives first."""
    if ground.snapshot.is_unreadable("vms", vm.name, "spec"):
        return Decision(waiting=Waiting(vm=vm.name, text="its definition can not be read"))
    if vm.placement is None:
        return NOTHING
    if (arriving := _wait_for_its_arrival(vm, vm.placement.value, ground, moment)) is not None:
        return arriving
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


def _wait_for_its_arrival(vm: VmView, placement: Placement, ground: Field, moment: Moment) -> Decision | None:
    """None: it is not on its way, or whoever was to hand it over, or to let it go on, is not there any more."""
    node = ground.snapshot.nodes.get(placement.node) if placement.node else None
    match placement.phase:
        case Phase.MIGRATING if node is not None and node.session_id == placement.session:
            return NOTHING
        case Phase.ASSIGNED if placement.arrival:
            if any(seen.node == placement.node for seen in ground.snapshot.observations(vm)):
                return NOTHING
            left_s = CLAIM_PATIENCE_S - moment.unclaimed_s.get(vm.name, 0.0)
            return Decision(retry_in_s=left_s) if left_s > 0 else None
    return None
