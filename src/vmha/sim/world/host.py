"""One simulated host: power, a LAN cable, processors that can stand still, a guard, a watchdog, an agent process.

The agent is restarted like systemd does. A frozen host makes no step, its guard included; a watchdog that the guard
petted resets it ``watchdog_s`` later, and it boots again.
"""

import asyncio
import contextvars
import itertools
from dataclasses import dataclass, field

from vmha.agent.session import TooOld
from vmha.fencing.deadline import State
from vmha.fencing.port import Guard
from vmha.hypervisor.twin.simulated_files import SimulatedFiles
from vmha.model.ids import NodeName, SessionId
from vmha.model.records import Hand
from vmha.model.schema import Software
from vmha.node.member import Member, Ports
from vmha.probing.simulated import SimulatedProbes
from vmha.sim.world.gate import SimGate
from vmha.sim.world.guarding import GuardLine, kill_managed
from vmha.sim.world.process import Process
from vmha.sim.world.surroundings import Surroundings
from vmha.sim.world.virtual import HostClock
from vmha.sim.world.witness import Act, Witness, WitnessedGuard, WitnessedHypervisor, machine_of
from vmha.store.memory_store import MemoryStore

AGENT_RESTART_S = 0.5
_FREEZE = "freeze"
BOOT_S = 5.0
"""From a watchdog's reset until the host's services run again."""

BY_SYSTEMD = Hand(author="root", why="the host shuts down")
"""Who asks an agent to leave when its host shuts down in good order."""


@dataclass(slots=True)
class SimIdentity:
    node: NodeName
    address: str
    boot_id: str
    host: str
    _serial: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def new_session(self) -> SessionId:
        return SessionId(f"{self.node}-{self.boot_id}-{next(self._serial)}")


class SimHost:
    """One host. ``power_on`` boots it; the rest is cables and processes."""

    def __init__(self, world: Surroundings, name: NodeName, *, memory_mib: int, vcpus: int, watchdog_s: int) -> None:
        self.world, self.name = world, name
        self.watchdog_s = watchdog_s
        self.boots = 0
        self.has_power = False
        self.is_cut = False
        self.is_cut_from_peers = False
        self.guard: WitnessedGuard | None = None
        self._guard_line: GuardLine | None = None
        self.member: Member | None = None
        self.gate = SimGate(lambda: self.guard.state if self.guard is not None else State.IDLE)
        self.clock = HostClock(world.clock)
        self._witness = Witness(world.sights, name, true=world.clock, own=self.clock)
        self.is_guard_away = False
        self.software: Software | None = None  # of the next agent; None: of today
        self.refused: list[str] = []  # what agents said that did not start
        self._hypervisor: WitnessedHypervisor | None = None
        self._nobody = contextvars.Context()  # of no process: goes on whatever becomes of the one that began it
        self.agent_process, self.guard_process = Process(), Process()
        self._is_frozen = False
        self._agent: asyncio.Task[None] | None = None
        self._store: MemoryStore | None = None
        self._closing: asyncio.Task[None] | None = None
        self._identity: SimIdentity | None = None
        self._reset: asyncio.TimerHandle | None = None
        world.fabric.add_host(name, addresses=(name,), memory_mib=memory_mib, vcpus=vcpus)

    @property
    def is_frozen(self) -> bool:
        return self._is_frozen

    @property
    def is_on_peers_network(self) -> bool:
        return self.has_power and not self.is_cut and not self.is_cut_from_peers

    @property
    def has_agent(self) -> bool:
        return self._agent is not None

    # --- power

    def power_on(self) -> None:
        if self.has_power:
            return
        self._call_off_reset()
        self.boots += 1
        self.has_power = True
        self.world.fabric.power_on(self.name)
        self._identity = SimIdentity(self.name, self.name, f"b{self.boots}", machine_of(self.name))
        self.is_guard_away = False
        self.guard = WitnessedGuard(
            self._witness,
            self.clock,
            lambda: kill_managed(self.world.fabric, self.name),
            list_managed=lambda: self.world.managed_on(self.name),
            watchdog_s=self.watchdog_s,
            context=self.guard_process.context(),
        )
        self._guard_line = GuardLine(self.guard, self.guard_process.context())
        self.start_agent()

    def power_off(self) -> None:
        """The cord: everything at once, nobody says goodbye."""
        self._call_off_reset()
        if not self.has_power:
            return
        self.has_power = False
        self.stop_agent()
        if self.guard:
            self.guard.stop()
            self.guard = None
        self.world.fabric.power_off(self.name)
        self._go_on()

    async def shut_down(self) -> bool:
        """An orderly shutdown of the host: its agent leaves, then the power goes. False: guests were left."""
        boot = self.boots
        left = await self.member.leave(BY_SYSTEMD) if self.member else False
        if self.boots == boot:  # else it was reset meanwhile, and has forgotten that it was to go off
            self.power_off()
        return left

    # --- processors

    def freeze(self) -> None:
        """Everything stands still. An armed watchdog is not petted any more."""
        if not self.has_power or self.is_frozen:
            return
        self._is_frozen = True
        for process in (self.agent_process, self.guard_process):
            process.stand(_FREEZE)
        self.world.fabric.freeze(self.name)
        self._stop_petting(self.guard.petted_watchdog_s if self.guard else 0)

    def thaw(self) -> None:
        if not self.is_frozen:
            return
        if not self.is_guard_away:
            self._call_off_reset()
        self.world.fabric.thaw(self.name)
        self._go_on()

    def kill_guard(self) -> None:
        """Nobody pets an armed watchdog until ``start_guard``."""
        if self.guard is None or self.is_guard_away:
            return
        self._stop_petting(self.guard.petted_watchdog_s)
        self.is_guard_away = True
        self.guard.crash()

    def slow_guard(self, seconds: float) -> None:
        """So long every call of the agent to it takes, until this boot ends."""
        if self._guard_line:
            self._guard_line.slow_s = seconds

    def start_guard(self) -> None:
        if self.guard is None or not self.is_guard_away:
            return
        self.is_guard_away = False
        if not self.is_frozen:
            self._call_off_reset()
        self.guard.restart()

    def _stop_petting(self, watchdog_s: int) -> None:
        if watchdog_s and self._reset is None:
            loop = asyncio.get_running_loop()
            self._reset = loop.call_later(watchdog_s, self._reset_now, context=self._nobody)

    def _go_on(self) -> None:
        self._is_frozen = False
        for process in (self.agent_process, self.guard_process):
            process.go_on(_FREEZE)

    def _reset_now(self) -> None:
        self._reset = None
        self.power_off()
        loop = asyncio.get_running_loop()
        self._reset = loop.call_later(BOOT_S, self.power_on, context=self._nobody)

    def _call_off_reset(self) -> None:
        if self._reset is not None:
            self._reset.cancel()
            self._reset = None

    # --- cables and daemons

    def cut(self) -> None:
        self.is_cut = True
        self.world.etcd.cut(self.name)

    def heal(self) -> None:
        self.is_cut = False
        self.world.etcd.heal(self.name)

    def cut_from_store(self) -> None:
        """Only etcd is out of reach: on another network, or behind a firewall's new rule. ``heal`` undoes it."""
        self.world.etcd.cut(self.name)

    def cut_from_peers(self) -> None:
        """Only the other agents are out of reach."""
        self.is_cut_from_peers = True

    def heal_peers(self) -> None:
        self.is_cut_from_peers = False

    def stop_libvirtd(self) -> None:
        if self.has_power:
            self.world.fabric.stop_libvirtd(self.name)

    def start_libvirtd(self) -> None:
        if self.has_power:
            self.world.fabric.start_libvirtd(self.name)

    # --- the agent process

    def start_agent(self) -> None:
        if self._agent is None and self.has_power:
            loop = asyncio.get_running_loop()
            self._agent = loop.create_task(
                self._run_agent(), name=f"agent-{self.name}", context=self.agent_process.context()
            )

    def stop_agent(self) -> None:
        """As ``kill -9``: nothing of it runs again, what it had asked of others goes on."""
        if self._agent is None:
            return
        # First of all its hands are cut off: a task that is cancelled still runs its ``finally``.
        loop = asyncio.get_running_loop()
        if self._store is not None:
            self._closing = loop.create_task(self._store.close(), name=f"closing-{self.name}", context=self._nobody)
        if self._hypervisor is not None:
            self._hypervisor.sever()
        self._agent.cancel()
        self.agent_process.go_on("SIGSTOP")
        self._agent = self._store = self.member = self._hypervisor = None

    def kill_agent(self) -> None:
        """``kill -9``; systemd starts it again after ``AGENT_RESTART_S``, if nobody did before."""
        if self._agent is None:
            return
        self.stop_agent()
        asyncio.get_running_loop().call_later(AGENT_RESTART_S, self.start_agent, context=self._nobody)

    async def _run_agent(self) -> None:
        while True:
            try:
                await self._run_member()
            except TooOld as error:
                self.refused.append(str(error))
            except Exception as error:
                self.world.crashes.append(f"{self.world.clock.now():.3f} agent of {self.name}: {error!r}")
            await asyncio.sleep(AGENT_RESTART_S)

    async def _run_member(self) -> None:
        assert self._guard_line
        assert self._identity
        self._witness.saw(Act.AGENT_BEGAN)
        self.member = Member(
            self._ports(self._guard_line),
            self._identity,
            self.world.keys,
            migration_uri="qemu+tcp://{address}/system",
            migration_address=self.name,
            threads=False,
            software=self.software,
        )
        await self.member.run()

    def _ports(self, guard: Guard) -> Ports:
        self._store = MemoryStore(self.world.etcd, self.name)
        self._hypervisor = WitnessedHypervisor(self._witness, self.world.fabric, self.name)
        hub = self.world.peers
        return Ports(
            peers=hub.channel(self.name, self.agent_process.context) if hub else None,
            store=self._store,
            hypervisor=self._hypervisor,
            files=SimulatedFiles(self.world.fabric.files, self.name),
            guard=guard,
            power=self.world.power,
            gate=self.gate,
            clock=self.clock,
            probes=SimulatedProbes(lambda vm: self.world.fabric.is_well(vm, self.name), self.world.broken_probes),
        )
