"""What a drain would leave on its node, and why: by the forecast of it, before anything is done."""

from vmha.model.ids import NodeName
from vmha.model.records import Phase, SeenState
from vmha.policy.plan import plan
from vmha.policy.state.hands_off import hands_off
from vmha.policy.state.snapshot import Moment, Snapshot, VmView
from vmha.policy.state.steps import Waiting
from vmha.policy.state.supposing import NodeDrained, suppose
from vmha.policy.telling.forecast import foresee

_STAYS = (Phase.HELD, Phase.STOPPING, Phase.MIGRATING)


def cannot_leave(snapshot: Snapshot, node: NodeName, moment: Moment) -> list[Waiting]:
    """Vms that would be left on the node in the end, each with what keeps it.

    What only a try can show (a host device, a cpu that the target lacks) is not seen before.
    """
    then = foresee(suppose(snapshot, NodeDrained(node=node)), moment).then
    said = {waiting.vm: waiting for waiting in plan(then, moment).waiting}
    return [
        said.get(name) or Waiting(vm=name, text=_why(vm, node, then))
        for name, vm in sorted(then.vms.items())
        if vm.spec and vm.placement and vm.placement.value.node == node and vm.placement.value.phase in _STAYS
    ]


def _why(vm: VmView, node: NodeName, snapshot: Snapshot) -> str:
    assert vm.placement
    if off := hands_off(vm, snapshot):
        return off.text
    held, seen = vm.placement.value, vm.seen.get(node)
    if held.phase is not Phase.HELD:
        return f"it is {held.phase}, and moves when that is over"
    if seen is None:
        return f"{node} has not said how it is"
    if seen.state is not SeenState.RUNNING:
        return f"it is {seen.state} there, and only a running guest migrates"
    return held.reason.text
