"""A vm whose definition was removed, or can not be read."""

from vmha.model.records import Phase, Reason
from vmha.policy.deciding.decision import NOTHING, Decision
from vmha.policy.members.removed import remember
from vmha.policy.placing.field import Field
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change, PlacementStep, Waiting


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
