"""A whole cluster in one process: simulated hosts under the real agents, leader and policy.

A host has power, a LAN cable, a guard, and an agent process that is restarted like systemd does. What is done here is
what an operator, a fault or a hand on the machine does; what follows from it is the product's own code.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from vmha.fencing.port import Guard
from vmha.fencing.power import PowerOff
from vmha.fencing.simulated import SimulatedGuard
from vmha.hypervisor.fabric import SimulatedFabric
from vmha.hypervisor.simulated import SimulatedHypervisor
from vmha.model.ids import NodeName, SessionId
from vmha.model.keys import Keys
from vmha.model.vm import FenceDeviceSpec
from vmha.node.member import Member, Ports
from vmha.sim.virtual import VirtualClock, VirtualLoop
from vmha.store.memory import MemoryEtcd
from vmha.store.memory_store import MemoryStore

AGENT_RESTART_S = 0.5
POWER_SWITCH_S = 0.3


@dataclass(slots=True)
class SimIdentity:
    node: NodeName
    address: str
    boot_id: str
    _serial: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def new_session(self) -> SessionId:
        return SessionId(f"{self.node}-{self.boot_id}-{next(self._serial)}")


class SimHost:
    """One host. ``power_on`` boots it; the rest is cables and processes."""

    def __init__(self, world: "World", name: NodeName, *, memory_mib: int, vcpus: int, watchdog_s: int) -> None:
        self.world, self.name = world, name
        self.watchdog_s = watchdog_s
        self.boots = 0
        self.has_power = False
        self.is_cut = False
        self.guard: SimulatedGuard | None = None
        self.member: Member | None = None
        self._agent: asyncio.Task[None] | None = None
        self._identity: SimIdentity | None = None
        world.fabric.add_host(name, addresses=(name,), memory_mib=memory_mib, vcpus=vcpus)

    def power_on(self) -> None:
        if self.has_power:
            return
        self.boots += 1
        self.has_power = True
        if self.boots > 1:
            self.world.fabric.power_on(self.name)
        self._identity = SimIdentity(self.name, self.name, f"b{self.boots}")
        self.guard = SimulatedGuard(
            self.world.clock,
            lambda: self.world.fabric.kill_managed(self.name),
            list_managed=lambda: self.world.managed_on(self.name),
            watchdog_s=self.watchdog_s,
        )
        self.start_agent()

    def power_off(self) -> None:
        """The cord: everything at once, nobody says goodbye."""
        if not self.has_power:
            return
        self.has_power = False
        self.stop_agent()
        if self.guard:
            self.guard.stop()
            self.guard = None
        self.world.fabric.power_off(self.name)

    def start_agent(self) -> None:
        if self._agent is None and self.has_power:
            self._agent = asyncio.get_running_loop().create_task(self._run_agent(), name=f"agent-{self.name}")

    def stop_agent(self) -> None:
        """As ``kill -9``: nothing of it runs again, what it had asked of others goes on."""
        if self._agent is not None:
            self._agent.cancel()
            self._agent = None
            self.member = None

    def cut(self) -> None:
        self.is_cut = True
        self.world.etcd.cut(self.name)

    def heal(self) -> None:
        self.is_cut = False
        self.world.etcd.heal(self.name)

    async def shut_down(self, timeout_s: float) -> bool:
        """An orderly shutdown of the host: its agent leaves, then the power goes."""
        left = await self.member.leave(timeout_s=timeout_s) if self.member else False
        self.power_off()
        return left

    async def _run_agent(self) -> None:
        while True:
            assert self.guard
            assert self._identity
            self.member = Member(
                self._ports(self.guard),
                self._identity,
                self.world.keys,
                migration_uri="qemu+tcp://{address}/system",
                migration_address=self.name,
                threads=False,
            )
            try:
                await self.member.run()
            except Exception as error:
                self.world.crashes.append(f"{self.world.clock.now():.3f} agent of {self.name}: {error!r}")
            await asyncio.sleep(AGENT_RESTART_S)

    def _ports(self, guard: Guard) -> Ports:
        return Ports(
            store=MemoryStore(self.world.etcd, self.name),
            hypervisor=SimulatedHypervisor(self.world.fabric, self.name),
            guard=guard,
            power=SimPower(self.world),
            clock=self.world.clock,
        )


class SimPower:
    """The power switch, on a network of its own: it works whatever the LAN does."""

    def __init__(self, world: "World") -> None:
        self._world = world

    async def power_off(self, node: NodeName, devices: Sequence[FenceDeviceSpec]) -> PowerOff:
        await asyncio.sleep(POWER_SWITCH_S)
        if node in self._world.broken_switches or not devices:
            return PowerOff(confirmed=False, how="the power switch does not answer")
        self._world.hosts[node].power_off()
        return PowerOff(confirmed=True, how=f"{devices[0].agent}: off, status off")


class World:
    """The hosts, their storeroom of virtual machines, and one etcd beside them."""

    def __init__(self, loop: VirtualLoop, *, cluster: str = "sim") -> None:
        self.clock = VirtualClock(loop)
        self.keys = Keys(cluster)
        self.etcd = MemoryEtcd()
        self.hosts: dict[NodeName, SimHost] = {}
        self.broken_switches: set[NodeName] = set()
        self.crashes: list[str] = []
        self.fabric = SimulatedFabric(self.clock, reachable=self._can_reach)
        self.operator_store = MemoryStore(self.etcd, "operator")

    def add_host(self, name: str, *, memory_mib: int = 16384, vcpus: int = 8, watchdog_s: int = 0) -> SimHost:
        host = SimHost(self, NodeName(name), memory_mib=memory_mib, vcpus=vcpus, watchdog_s=watchdog_s)
        self.hosts[host.name] = host
        return host

    def managed_on(self, host: str) -> tuple[str, ...]:
        return tuple(sorted(guest.name for guest in self.fabric.host(host).guests.values() if guest.tag is not None))

    def _can_reach(self, source: str, target: str) -> bool:
        ends = [self.hosts.get(NodeName(name)) for name in (source, target)]
        return all(host is None or not host.is_cut for host in ends)

    async def shut_down(self) -> None:
        for host in self.hosts.values():
            with contextlib.suppress(asyncio.CancelledError):
                host.power_off()
        await asyncio.sleep(0)
