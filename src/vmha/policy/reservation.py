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
from vmha.policy.snapshot import NodeView


@dataclass(frozen=True, slots=True)
class Need:
    """``vcpus`` 0: not known."""

    memory_mib: int
    vcpus: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """What is for vms in all; 0: not limited."""

    memory_mib: int
    vcpus: int = 0

    def refusal(self, need: Need, memory_mib: int, vcpus: int) -> str:
        """Why a vm does not fit beside what takes so much already, or ''."""
        if self.memory_mib and memory_mib + need.memory_mib > self.memory_mib:
            free = max(0, self.memory_mib - memory_mib)
            return f"has {free} MiB free of {self.memory_mib}, the vm needs {need.memory_mib}"
        if self.vcpus and need.vcpus and vcpus + need.vcpus > self.vcpus:
            return f"has {max(0, self.vcpus - vcpus)} vcpus free of {self.vcpus}, the vm needs {need.vcpus}"
        return ""


def need_of(spec: VmSpec, placement: Placement | None) -> Need:
    if spec.definition is None or placement is None:
        return Need(spec.memory_mib, spec.vcpus)
    return Need(max(spec.memory_mib, placement.memory_mib), placement.vcpus or spec.vcpus)


def memory_of(spec: VmSpec, placement: Placement | None) -> int:
    """MiB."""
    return need_of(spec, placement).memory_mib


def room_of(view: NodeView, config: ClusterConfig) -> Room:
    spec, status = view.spec.value if view.spec else None, view.current_status
    memory = (spec.memory_mib if spec else None) or (status.memory_mib if status else 0)
    vcpus = (spec.vcpus if spec else None) or (status.vcpus if status else 0)
    rules = config.capacity
    if spec is not None:
        rules = rules.model_copy(update=spec.capacity.model_dump(exclude_none=True))
    return Room(
        # Known, but all of it reserved, is not the same as not known.
        memory_mib=max(1, int((memory - rules.reserve_mib) * rules.memory_overcommit)) if memory else 0,
        vcpus=max(1, int(vcpus * rules.vcpu_overcommit)) if vcpus and rules.vcpu_overcommit else 0,
    )
