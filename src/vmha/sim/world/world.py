"""A whole cluster in one process: simulated hosts under the real agents, leader and policy.

What is done here is what an operator, a fault or a hand on the machine does; what follows from it is the product's own
code. The truth of who ran where is the fabric's history; the store's commits are kept in ``record``.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum

from vmha.fencing.power import Halt, PowerOff
from vmha.hypervisor.twin.fabric import SimulatedFabric
from vmha.model.fence_answer import FenceAnswer, FenceSays
from vmha.model.ids import NodeName
from vmha.model.keys import Keys
from vmha.model.vm import FenceDeviceSpec
from vmha.peers.simulated import PeersHub
from vmha.sim.world.host import SimHost
from vmha.sim.world.record import Record
from vmha.sim.world.surroundings import Surroundings
from vmha.sim.world.virtual import VirtualClock, VirtualLoop
from vmha.store.memory import Backup, MemoryEtcd
from vmha.store.memory_store import MemoryStore
from vmha.store.port import Delete

POWER_SWITCH_S = 0.3
_JOURNAL_KEPT, _TRIMMED_AT_ONCE = 50, 100


class Switch(StrEnum):
    """What is wrong with a host's power switch."""

    HANGS = "switch-hangs"
    LIES = "switch-lies"  # done, it says; its status still says on
    LOSES_ANSWER = "switch-loses-answer"  # the power is off, and nobody says so
    BABBLES = "switch-babbles"  # its fence agent prints garbage, and its exit code means nothing
    MISSING = "switch-missing"  # there is no such program as its fence agent


_NO_ANSWER = {
    Switch.BABBLES: "{agent}: exit code 42: \ufffd\ufffd~ (action off of {node}, expected exit code: 0)",
    Switch.MISSING: "{agent}: no such program in PATH (action off of {node})",
}
"""What a fence agent that does not do its work comes to, in the words of ``fencing.fence_agent``."""


class SimPower:
    """The power switch, on a network of its own: it works whatever the LAN does."""

    def __init__(self, world: "World") -> None:
        self._world = world

    async def power_off(self, node: NodeName, devices: Sequence[FenceDeviceSpec], *, halt: Halt) -> PowerOff:
        world, trouble = self._world, self._world.switches.get(node)
        await asyncio.sleep(world.switch_takes_s.get(node, POWER_SWITCH_S))
        if node in world.broken_switches or not devices:
            return PowerOff(confirmed=False, how="the power switch does not answer")
        if trouble in _NO_ANSWER:
            return PowerOff(confirmed=False, how=_NO_ANSWER[trouble].format(agent=devices[0].agent, node=node))
        if trouble is Switch.HANGS:
            await asyncio.sleep(sum(device.timeout_s for device in devices))
            return PowerOff(confirmed=False, how="the power switch did not answer in time")
        if why := await halt():
            return PowerOff(confirmed=False, how=f"called off: {why}")
        if trouble is Switch.LIES:
            return PowerOff(confirmed=False, how="the power switch says it is done, and its status says on")
        if node not in world.lying_switches:
            world.hosts[node].power_off()
        if trouble is Switch.LOSES_ANSWER:
            return PowerOff(confirmed=False, how="the power switch ended the connection")
        await asyncio.sleep(world.switch_answers_after_s.get(node, 0.0))
        return PowerOff(confirmed=True, how=f"{devices[0].agent}: off, status off")

    async def power_on(self, node: NodeName, devices: Sequence[FenceDeviceSpec], *, halt: Halt) -> PowerOff:
        world, trouble = self._world, self._world.switches.get(node)
        await asyncio.sleep(world.switch_takes_s.get(node, POWER_SWITCH_S))
        if node in world.broken_switches or trouble in _NO_ANSWER or not devices:
            return PowerOff(confirmed=False, how="the power switch does not answer")
        if trouble is Switch.HANGS:
            await asyncio.sleep(sum(device.timeout_s for device in devices))
            return PowerOff(confirmed=False, how="the power switch did not answer in time")
        if why := await halt():
            return PowerOff(confirmed=False, how=f"called off: {why}")
        if trouble is Switch.LIES:
            return PowerOff(confirmed=False, how="the power switch says it is done, and its status says off")
        world.hosts[node].power_on()
        if trouble is Switch.LOSES_ANSWER:
            return PowerOff(confirmed=False, how="the power switch ended the connection")
        return PowerOff(confirmed=True, how=f"{devices[0].agent}: power is on")

    async def give_back(self, node: NodeName, devices: Sequence[FenceDeviceSpec]) -> PowerOff:
        return PowerOff(confirmed=True, how="nothing was taken")

    async def ask_devices(
        self, nodes: Mapping[NodeName, Sequence[FenceDeviceSpec]]
    ) -> dict[NodeName, tuple[FenceAnswer, ...]]:
        """As ``fencing.asking`` does: nothing is switched."""
        return {node: tuple([await self._status(node, one) for one in devices]) for node, devices in nodes.items()}

    async def _status(self, node: NodeName, device: FenceDeviceSpec) -> FenceAnswer:
        world, trouble = self._world, self._world.switches.get(node)
        await asyncio.sleep(device.timeout_s if trouble is Switch.HANGS else POWER_SWITCH_S)
        nothing = FenceAnswer(agent=device.agent, role=device.role, says=FenceSays.NOTHING, timeout_s=device.timeout_s)
        if trouble is Switch.HANGS:
            return replace(nothing, says=FenceSays.LATE)
        if trouble is Switch.MISSING:
            return replace(nothing, says=FenceSays.MISSING, words=f"no such program in PATH (action status of {node})")
        if trouble is Switch.BABBLES:
            return replace(nothing, code=42, words=f"exit code 42: \ufffd\ufffd~ (action status of {node})")
        if node in world.broken_switches:
            return replace(nothing, code=1, words="exit code 1: the power switch does not answer")
        is_on = world.hosts[node].has_power and node not in world.lying_switches
        return replace(nothing, says=FenceSays.ON if is_on else FenceSays.OFF, code=0 if is_on else 2)


class World(Surroundings):
    """The hosts, their storeroom of virtual machines, and one etcd beside them."""

    def __init__(self, loop: VirtualLoop, *, cluster: str = "sim", peers: bool = False) -> None:
        """``peers``: the agents have a channel to each other."""
        hub = PeersHub(can_reach=self._hears, is_frozen=self._is_frozen, is_standing=self._is_standing)
        clock, keys, etcd = VirtualClock(loop), Keys(cluster), MemoryEtcd()
        super().__init__(
            clock=clock,
            keys=keys,
            etcd=etcd,
            fabric=SimulatedFabric(clock, reachable=self._can_reach),
            peers=hub if peers else None,
            power=SimPower(self),
        )
        self.fence_devices = SimPower(self)
        self.hosts: dict[NodeName, SimHost] = {}
        self.broken_switches: set[NodeName] = set()
        self.lying_switches: set[NodeName] = set()  # say "off" and have done nothing
        self.switch_takes_s: dict[NodeName, float] = {}  # before it switches; POWER_SWITCH_S when not given
        self.switch_answers_after_s: dict[NodeName, float] = {}  # when it has switched
        self.switches: dict[NodeName, Switch] = {}
        self.record = Record(etcd, keys.prefix)
        self.operator_store = MemoryStore(etcd, "operator")

    def add_host(self, name: str, *, memory_mib: int = 16384, vcpus: int = 8, watchdog_s: int = 0) -> SimHost:
        host = SimHost(self, NodeName(name), memory_mib=memory_mib, vcpus=vcpus, watchdog_s=watchdog_s)
        self.hosts[host.name] = host
        return host

    def compact(self) -> None:
        """The store forgets its history; the record does not."""
        self.record.catch_up()
        self.etcd.compact()

    def trim_journal(self) -> None:
        """What an hour or a week does on real clusters: old entries expire. The record keeps them."""
        if self.etcd.is_running:
            old = [kv.key for kv in self.etcd.list(self.keys.journal("")).items[:-_JOURNAL_KEPT]]
            for begin in range(0, len(old), _TRIMMED_AT_ONCE):
                self.etcd.txn([], [Delete(key) for key in old[begin : begin + _TRIMMED_AT_ONCE]])

    def restore(self, backup: Backup) -> None:
        """The store is put back to where it was; the record keeps what was lost, and goes on."""
        self.record.catch_up()
        self.etcd.restore(backup)
        self.record.begin_again(backup.revision)

    def forget(self) -> None:
        """What was recorded is not needed any more. The rest refers to itself in circles, which is garbage that has to
        be looked for: what is given up here need not be gone through for that.
        """
        self.compact()
        for recorded in (self.record.lines, self.fabric.history, self.sights):
            recorded.clear()

    def _can_reach(self, source: str, target: str) -> bool:
        ends = [self.hosts.get(NodeName(name)) for name in (source, target)]
        return all(host is None or not host.is_cut for host in ends)

    def _hears(self, source: NodeName, target: NodeName) -> bool:
        return self.hosts[source].is_on_peers_network and self.hosts[target].is_on_peers_network

    def _is_frozen(self, name: NodeName) -> bool:
        return self.hosts[name].is_frozen

    def _is_standing(self, name: NodeName) -> bool:
        return self.hosts[name].agent_process.is_standing

    async def shut_down(self) -> None:
        for host in self.hosts.values():
            with contextlib.suppress(asyncio.CancelledError):
                host.power_off()
        await asyncio.sleep(0)
