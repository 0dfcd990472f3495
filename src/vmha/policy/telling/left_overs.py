"""What hosts keep of managed vms beside the cluster, in words: what it can do, and how it is taken away.

Nothing of it is ever taken away by vmha: it may be somebody's only copy. A definition that hosts are meant to keep
(``definition: {persistent: true}``) is none of it, as long as it is the same on all of them.
"""

from collections import defaultdict

from vmha.model.ids import NodeName
from vmha.model.node_findings import LeftOver
from vmha.model.vm import VmSpec
from vmha.policy.state.snapshot import Snapshot, VmView


def in_words(one: LeftOver, node: NodeName, spec: VmSpec) -> list[str]:
    """What is to be said of what ``node`` keeps of a vm; nothing, if that is as it should be."""
    said, name = [], one.name or str(one.vm)
    is_same = (name, one.uuid.lower()) == (spec.name, spec.uuid.lower())
    keeps = spec.definition is not None and spec.definition.persistent
    if not is_same:
        said.append(
            f"{node}'s libvirt has a definition {name} with uuid {one.uuid}: "
            f"{spec.name} ({spec.uuid}) can neither start there nor migrate there (virsh undefine {name})"
        )
    elif not keeps:
        said.append(
            f"{node}'s libvirt keeps a persistent definition of {name}: the guest is persistent while it runs there, "
            f"and a start by hand takes that definition, not the cluster's (virsh undefine {name})"
        )
    if one.autostart:
        said.append(
            f"{node}'s libvirt has an autostart mark on {name}: it tries to start it when it begins, "
            f"beside the cluster (virsh autostart --disable {name})"
        )
    if one.managed_save:
        said.append(
            f"{node}'s libvirt keeps a managed save of {name}: a start by hand would go on from that memory, "
            f"over a disk that is newer (virsh managedsave-remove {name})"
        )
    return said


def of_node(node: NodeName, snapshot: Snapshot) -> list[str]:
    view = snapshot.nodes.get(node)
    status = view.current_status if view else None
    said = []
    for one in status.left_overs if status else ():
        vm = snapshot.vms.get(one.vm)
        if vm is not None and vm.spec is not None:
            said += in_words(one, node, vm.spec.value)
    return said


def of_all_vms(snapshot: Snapshot) -> list[str]:
    """As ``of_vm`` of each. Few vms have any: those are found first, or every node would be looked at for every vm."""
    statuses = [view.current_status for view in snapshot.nodes.values()]
    named = {one.vm for status in statuses if status for one in status.left_overs}
    return [words for name, vm in snapshot.vms.items() if name in named for words in of_vm(vm, snapshot)]


def of_vm(vm: VmView, snapshot: Snapshot) -> list[str]:
    """What its nodes keep of it, and where that differs."""
    if vm.spec is None:
        return []
    spec, said = vm.spec.value, []
    kept: defaultdict[str, list[NodeName]] = defaultdict(list)
    lacking = []
    for node, view in sorted(snapshot.nodes.items()):
        status = view.current_status
        if status is None:
            continue
        here = [one for one in status.left_overs if one.vm == vm.name]
        for one in here:
            said += in_words(one, node, spec)
            kept[one.definition].append(node)
        if not here and status.eligible:
            lacking.append(node)
    if len(kept) > 1:
        groups = "; ".join(", ".join(nodes) for nodes in sorted(kept.values()))
        said.append(f"the persistent definitions of {vm.name} differ between the nodes ({groups})")
    if spec.definition is not None and spec.definition.persistent and lacking and kept:
        said.append(f"{vm.name} can not start on {', '.join(lacking)}: no persistent definition of it there")
    return said
