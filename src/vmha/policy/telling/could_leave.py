"""What a drain of a node would do with each vm on it: where it would go, or why it could not leave."""

from dataclasses import dataclass

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, SeenState
from vmha.model.vm import Desired
from vmha.policy.deciding.decision import in_short
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import choose, take
from vmha.policy.state.hands_off import hands_off
from vmha.policy.state.snapshot import VmView


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """``to`` None: it could not leave, and ``why`` says what is in the way."""

    vm: VmName
    to: NodeName | None
    why: str = ""


def could_leave(node: NodeName, ground: Field) -> tuple[Leave, ...]:
    """One vm after another, the most important first: each takes the room that it would take. Uses ``ground`` up."""
    vms = [vm for vm in ground.snapshot.vms.values() if _is_on(vm, node)]
    vms.sort(key=lambda vm: (-vm.spec.value.priority if vm.spec else 0, vm.name))
    return tuple(_leave(vm, node, ground) for vm in vms)


def _is_on(vm: VmView, node: NodeName) -> bool:
    placement = vm.placement.value if vm.placement else None
    return placement is not None and placement.node == node and placement.phase in (Phase.HELD, Phase.ASSIGNED)


def _leave(vm: VmView, node: NodeName, ground: Field) -> Leave:
    def stays(why: str) -> Leave:
        return Leave(vm=vm.name, to=None, why=why)

    if vm.spec is None:
        return stays("it is not defined any more: it is left as it is")
    if off := hands_off(vm, ground.snapshot):
        return stays(off.in_full)
    if vm.spec.value.desired in (Desired.STOPPED, Desired.DISABLED):
        return stays(f"it is to be {vm.spec.value.desired}, and ends here")
    seen = vm.seen.get(node)
    if seen is not None and seen.state is SeenState.PAUSED:
        return stays(f"its guest stands still ({seen.reason}), and is moved only while it runs")
    assert vm.placement
    held = vm.placement.value
    avoid = {node: "is to be drained"} | {
        one.node: "has something of it already" for one in ground.snapshot.observations(vm) if one.node != node
    }
    choice = choose(vm.spec.value, ground, owner=node, avoid=avoid, failures=held.failures, moving=True)
    if choice.node is None:
        return stays(in_short(choice))
    take(choice.node, vm.spec.value, ground, starting=False)
    return Leave(vm=vm.name, to=choice.node)
