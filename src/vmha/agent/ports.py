"""By what an agent and its parts reach the world: the same for each part, so it is handed on as one record."""

from collections.abc import Callable
from dataclasses import dataclass

from vmha.agent.session import SessionKeeper
from vmha.fencing.gate_files import Gate
from vmha.hypervisor.files import HostFiles
from vmha.hypervisor.port import Hypervisor
from vmha.model.clock import Clock
from vmha.model.ids import NodeName
from vmha.model.keys import Keys
from vmha.policy.state.snapshot import Snapshot
from vmha.store.journal import Journal
from vmha.store.mirror import Mirror
from vmha.store.port import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPorts:
    """``keeper``: in whose session it is done. ``read_snapshot``: what the mirror knows by now, all of it; whoever
    needs little of it asks ``mirror``.

    ``hypervisor`` is asked by the vms' names, whatever their guests are called (agent/by_its_name.py).
    """

    store: Store
    keys: Keys
    journal: Journal
    read_snapshot: Callable[[], Snapshot]
    mirror: Mirror
    keeper: SessionKeeper
    hypervisor: Hypervisor
    files: HostFiles
    gate: Gate
    clock: Clock

    @property
    def node(self) -> NodeName:
        return self.keeper.node

    @property
    def cluster(self) -> str:
        return self.keys.cluster
