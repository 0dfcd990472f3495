"""What a simulated host stands in: the network's other end, one etcd, and all hosts' guests."""

from dataclasses import dataclass, field

from vmha.fencing.power import PowerSwitch
from vmha.hypervisor.twin.fabric import SimulatedFabric
from vmha.model.keys import Keys
from vmha.peers.simulated import PeersHub
from vmha.sim.world.virtual import VirtualClock
from vmha.sim.world.witness import Sight
from vmha.store.memory import MemoryEtcd


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """``peers`` None: the agents have no channel to each other."""

    clock: VirtualClock
    keys: Keys
    etcd: MemoryEtcd
    fabric: SimulatedFabric
    peers: PeersHub | None
    power: PowerSwitch
    broken_probes: dict[str, str] = field(default_factory=dict)  # vms whose probes can not be asked, and why
    crashes: list[str] = field(default_factory=list)  # agents that ended by an error of their own
    sights: list[Sight] = field(default_factory=list)  # of what the hosts really did (``witness``)

    def managed_on(self, host: str) -> tuple[str, ...]:
        return tuple(sorted(guest.name for guest in self.fabric.host(host).guests.values() if guest.tag is not None))
