"""A vm that wants its node for itself: RGManager's ``exclusive``, with the ranks of its central processing.

* It is placed only where no other vm is, and no other vm is placed where it is; each refusal says so.
* What a hand or an edit has put beside it is told and left alone: a guest is not ended, nor moved, for it.
* When no node can take it and one of them only for a less important exclusive vm (a greater number), that one gives
  way: by migration where a node can take it, else it is stopped and waits for a node, as RGManager had it. Vms that are
  not exclusive are never stopped for it; they may leave a node by moving (deciding/making_room.py).
"""

from collections.abc import Iterator

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase
from vmha.model.vm import VmSpec
from vmha.policy.placing.load import Load
from vmha.policy.state.snapshot import Snapshot

IS_EXCLUSIVE = ", which is exclusive"
WANTS_TO_BE_ALONE = " is exclusive"


def clash(spec: VmSpec, load: Load) -> str:
    """Why the vm can not go where ``load`` is, or ''. What is there of itself is no other."""
    others = [name for name in load.exclusive if name != spec.name]
    if others:
        return f"runs {min(others)}{IS_EXCLUSIVE}"
    if not spec.exclusive:
        return ""
    count = load.vms - len(load.exclusive)
    if count <= 0:
        return ""
    return f"has {count} other vm{'' if count == 1 else 's'} on it, and {spec.name}{WANTS_TO_BE_ALONE}"


def company(snapshot: Snapshot) -> Iterator[str]:
    """Exclusive vms that are not alone on their node, in words."""
    if not any(vm.spec and vm.spec.value.exclusive for vm in snapshot.vms.values()):
        return
    there: dict[NodeName, list[VmName]] = {}
    exclusive: list[tuple[NodeName, VmName]] = []
    for name, vm in sorted(snapshot.vms.items()):
        placement = vm.placement.value if vm.placement else None
        if placement is None or placement.node is None or placement.phase in (Phase.STOPPED, Phase.DEPARTED):
            continue
        there.setdefault(placement.node, []).append(name)
        if vm.spec and vm.spec.value.exclusive:
            exclusive.append((placement.node, name))
    for node, name in exclusive:
        others = [other for other in there[node] if other != name]
        if others:
            yield f"vm {name} is exclusive, and shares {node} with {', '.join(others[:5])}{_more(len(others) - 5)}"


def _more(number: int) -> str:
    return f" and {number} more" if number > 0 else ""
