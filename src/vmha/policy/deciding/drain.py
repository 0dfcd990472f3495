"""The order in which vms leave a drained node, and where they are at home meanwhile.

The most important ones leave first, and of equal ones the largest: they take longest, and find room while there is
most. Where a vm came from is kept in its placement (``drained_from``) until it moves for another reason: so a new
leader knows it as well, and ``vmha node undrain NODE --return`` can bring it back. Drained once more on its way round,
it remembers the first node, as long as that is still in maintenance.
"""

from collections.abc import Sequence

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, Placement
from vmha.policy.members.membership import Condition
from vmha.policy.placing.field import Field
from vmha.policy.state.snapshot import Snapshot, VmView

_LEAVES = (Condition.MAINTENANCE, Condition.LEAVING)


def largest_first(vms: list[VmView], ground: Field) -> list[VmView]:
    """Vms in the order of a plan, those on draining nodes among themselves by size where they are equally important."""
    if not any(verdict.condition in _LEAVES for verdict in ground.verdicts.values()):
        return vms
    at = [index for index, vm in enumerate(vms) if _is_leaving(vm, ground)]
    found = list(vms)
    for index, vm in zip(at, sorted((vms[index] for index in at), key=lambda vm: _rank(vm, ground)), strict=True):
        found[index] = vm
    return found


def _is_leaving(vm: VmView, ground: Field) -> bool:
    held = vm.placement.value if vm.placement and vm.spec else None
    verdict = ground.verdicts.get(held.node) if held and held.node else None
    return verdict is not None and verdict.condition in _LEAVES


def _rank(vm: VmView, ground: Field) -> tuple[bool, int, int, int, VmName]:
    assert vm.spec
    spec = vm.spec.value
    return (not spec.exclusive, spec.exclusive, -spec.priority, -ground.size_of(spec).memory_mib, vm.name)


def home_of(held: Placement, ground: Field) -> NodeName | None:
    """Of a vm that a drain sends away from where it is held; None: its node is not drained."""
    assert held.node
    if ground.verdicts[held.node].condition is not Condition.MAINTENANCE:
        return None
    first = ground.verdicts.get(held.drained_from) if held.drained_from else None
    return held.drained_from if first and first.condition is Condition.MAINTENANCE else held.node


def away_from(node: NodeName, snapshot: Snapshot) -> Sequence[VmName]:
    """Vms that a drain of this node has sent elsewhere, and that have moved for no other reason since."""
    return [
        name
        for name, vm in sorted(snapshot.vms.items())
        if vm.spec
        and vm.placement
        and vm.placement.value.drained_from == node
        and node not in (vm.placement.value.node, vm.placement.value.target)
        and vm.placement.value.phase in (Phase.HELD, Phase.ASSIGNED, Phase.MIGRATING)
    ]
