"""What a vm takes on a node, and what a node has for vms.

A vm takes what its definition says. Where that is not in etcd, it is what its last start has read; before its first
start nobody knows, and it counts as what the operator said, or as next to nothing. A vm on its way counts at both ends.

A node has what its libvirt reports, or what the operator says instead, less the reserve, times the overcommit ratio.
What is not known is not limited.
"""

from dataclasses import dataclass

from vmha.model.records import Placement
from vmha.model.settings import ClusterConfig
from vmha.model.vm import VmSpec
from vmha.policy.state.snapshot import NodeView


@dataclass(frozen=True, slots=True)
class Size:
    """``vcpus`` 0: not known."""

    memory_mib: int
    vcpus: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(self.memory_mib + other.memory_mib, self.vcpus + other.vcpus)


NOTHING = Size(0)


@dataclass(frozen=True, slots=True)
class Room:
    """What is for vms in all; 0: not limited."""

    memory_mib: int
    vcpus: int = 0

    def takes(self, need: Size, memory_mib: int, vcpus: int) -> bool:
        """Beside so much: whether ``refusal`` is ''. Asked for each vm and node, it makes no words."""
        if self.memory_mib and need.memory_mib and memory_mib + need.memory_mib > self.memory_mib:
            return False
        return not (self.vcpus and need.vcpus and vcpus + need.vcpus > self.vcpus)

    def refusal(self, need: Size, taken: Size, whose: str = "the vm needs") -> str:
        """Why that does not fit beside what is taken already, or ''."""
        for needed, used, most, what in (
            (need.memory_mib, taken.memory_mib, self.memory_mib, "MiB"),
            (need.vcpus, taken.vcpus, self.vcpus, "vcpus"),
        ):
            if most and needed and used + needed > most:
                return f"has {max(0, most - used)} {what} free of {most}, {whose} {needed}"
        return ""


def size_of(spec: VmSpec, placement: Placement | None) -> Size:
    if spec.definition is None or placement is None:
        return Size(spec.memory_mib, spec.vcpus)
    return Size(max(spec.memory_mib, placement.memory_mib), placement.vcpus or spec.vcpus)


def memory_of(spec: VmSpec, placement: Placement | None) -> int:
    """MiB."""
    return size_of(spec, placement).memory_mib


def room_of(view: NodeView, config: ClusterConfig) -> Room:
    spec, status = view.spec.value if view.spec else None, view.current_status
    memory = (spec.memory_mib if spec else None) or (status.memory_mib if status else 0)
    vcpus = (spec.vcpus if spec else None) or (status.vcpus if status else 0)
    rules = config.capacity
    if spec is not None and (own := spec.capacity.model_dump(exclude_none=True)):
        rules = rules.model_copy(update=own)
    return Room(
        # Known, but all of it reserved, is not the same as not known.
        memory_mib=max(1, int((memory - rules.reserve_mib) * rules.memory_overcommit)) if memory else 0,
        vcpus=max(1, int(vcpus * rules.vcpu_overcommit)) if vcpus and rules.vcpu_overcommit else 0,
    )
