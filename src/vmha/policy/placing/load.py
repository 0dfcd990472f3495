"""What a node carries, counting what a plan adds, and what it has for vms."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vmha.model.ids import NodeName, VmName
from vmha.model.settings import ClusterConfig
from vmha.policy.state.reservation import Room, Size, room_of
from vmha.policy.state.snapshot import NodeView


@dataclass(slots=True, kw_only=True)
class Load:
    """The only thing that changes while a plan is made."""

    vms: int = 0
    memory_mib: int = 0
    vcpus: int = 0
    starting: int = 0
    migrating: int = 0
    exclusive: list[VmName] = field(default_factory=list)  # of the vms, those that want the node for themselves

    @property
    def taken(self) -> Size:
        return Size(self.memory_mib, self.vcpus)


class Rooms(dict[NodeName, Room]):
    """By node, worked out when it is first asked for."""

    def __init__(self, nodes: Mapping[NodeName, NodeView], config: ClusterConfig) -> None:
        self._nodes, self._config = nodes, config

    def __missing__(self, node: NodeName) -> Room:
        self[node] = room = room_of(self._nodes[node], self._config)
        return room
