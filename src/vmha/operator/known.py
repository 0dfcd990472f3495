"""A vm that an operator calls by its name, looked up in a snapshot: who errs is told the near names."""

from vmha.model.ids import VmName
from vmha.operator.errors import unknown_name
from vmha.policy.state.snapshot import Snapshot, VmView


def find_vm(snapshot: Snapshot, name: str) -> VmView:
    """One that is defined; of others there may be traces. Raises: UnknownName."""
    vm = snapshot.vms.get(VmName(name))
    if vm is None or vm.spec is None:
        raise unknown_name("vm", name, (view.name for view in snapshot.vms.values() if view.spec))
    return vm
