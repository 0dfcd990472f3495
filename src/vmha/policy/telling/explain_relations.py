"""What a vm is to others, in sentences, for ``vmha vm why``: whom it needs, who needs it, in which order they start."""

from collections.abc import Iterable

from vmha.model.ids import VmName
from vmha.model.records import Phase
from vmha.policy.deciding.ready import is_ready
from vmha.policy.placing.field import Field
from vmha.policy.placing.services import leading
from vmha.policy.state.snapshot import Snapshot, VmView
from vmha.policy.telling.explain import VmState, VmSummary
from vmha.policy.telling.explain_rules import tell_rules

_UP = (VmState.RUNNING, VmState.PAUSED, VmState.MIGRATING)


def tell_relations(vm: VmView, ground: Field) -> tuple[str, ...]:
    lines = [*_needs(vm, ground)]
    if dependents := ground.ties.needed_by.get(vm.name):
        lines.append(f"It is needed by {', '.join(dependents)}: stopped with it, started after it.")
    if service := ground.ties.member_of.get(vm.name):
        found = leading(service, ground)
        where = f"; {found[0]} leads it, on {found[1]}" if found else ""
        lines.append(f"It is in service {service.name} ({', '.join(service.members)}){where}.")
    if vm.spec and vm.spec.value.exclusive:
        lines.append(f"It is exclusive, with rank {vm.spec.value.exclusive}{_company(vm, ground)}.")
    return (*lines, *tell_rules(vm.name, ground.snapshot))


def _needs(vm: VmView, ground: Field) -> list[str]:
    counted = ground.ties.needs.get(vm.name, ())
    lines = []
    for need in vm.spec.value.depends_on if vm.spec else ():
        other = ground.snapshot.vms.get(VmName(need.vm))
        if need not in counted:
            state = "and that needs it in turn, so it is not waited for"
        elif other is None or other.spec is None:
            state = "which is not defined"
        else:
            state = "which is ready" if is_ready(other, ground) else "which is not ready"
        after = f", and is started {need.start_delay_s:g} s after that" if need.start_delay_s else ""
        lines.append(f"It needs {need.vm} ({need.mode}), {state}{after}.")
    order = ground.ties.order_of([vm.name])
    return [*lines, f"Start order: {', '.join(order)}."] if len(order) > 1 else lines


def _company(vm: VmView, ground: Field) -> str:
    placement = vm.placement.value if vm.placement else None
    if placement is None or placement.node is None or placement.phase is Phase.STOPPED:
        return ""
    load = ground.loads.get(placement.node)
    others = load.vms - 1 if load else 0
    return f"; {placement.node} has {others} other vm{'' if others == 1 else 's'} on it" if others > 0 else ""


def told_apart(snapshot: Snapshot, summaries: Iterable[VmSummary]) -> list[str]:
    """A line for each service whose vms run on several nodes."""
    if not snapshot.services:
        return []
    running = {summary.name: summary for summary in summaries if summary.state in _UP}
    said = []
    for name, service in sorted(snapshot.services.items()):
        here = [running[VmName(member)] for member in service.members if VmName(member) in running]
        if len({summary.node for summary in here}) > 1:
            where = ", ".join(f"{summary.name} on {summary.node}" for summary in here)
            said.append(f"the vms of service {name} are being brought together: {where}")
    return said
