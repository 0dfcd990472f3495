"""Everything that may be done to a simulated cluster from outside: by an operator, by a hand on a host, by fate.

An operator's verbs go through the same functions as the command line's, on a connection of their own that nothing
cuts; only when the store itself is down do they fail, as they would for a real operator.
"""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

from vmha.hypervisor.port import DomainState
from vmha.hypervisor.twin.fabric_state import Guest
from vmha.model.by_hand import OPERATOR
from vmha.model.domain_xml import default_uuid, parse_domain
from vmha.model.errors import Refused
from vmha.model.holds import PauseMode
from vmha.model.ids import LeaseId, NodeName
from vmha.model.keys import encode
from vmha.model.records import Request, Verb
from vmha.model.restart import RestartKind
from vmha.model.rules import Rule
from vmha.model.service import Service
from vmha.model.settings import ClusterConfig
from vmha.model.vm import Desired, FailoverDomain, FenceDeviceSpec, MigrationStyle, NodeSpec
from vmha.operator import holds, nodes, services, vms
from vmha.operator.client import OperatorClient
from vmha.operator.domains import add_domain
from vmha.operator.requests import submit
from vmha.sim.world.host import SimHost
from vmha.sim.world.world import World
from vmha.store.journal import Journal
from vmha.store.port import Put

FENCE_DEVICE = FenceDeviceSpec(agent="fence_sim")
SHUTDOWN_LOOK_S = 1.0


def domain_xml(name: str, *, memory_mib: int, vcpus: int) -> str:
    return (
        f"<domain type='qemu'><name>{name}</name><uuid>{default_uuid('sim', name)}</uuid>"
        f"<memory unit='MiB'>{memory_mib}</memory>"
        f"<vcpu>{vcpus}</vcpu><os><type>hvm</type></os></domain>"
    )


class _Entries(Journal):
    """An operator's, whose lease is granted by no call: a history takes as long as if its operator told nothing."""

    def __init__(self, world: World) -> None:
        super().__init__(world.operator_store, world.keys, world.clock, OPERATOR, days=lambda: 7)
        self._etcd = world.etcd

    async def _granted(self, ttl_s: int) -> LeaseId:
        return self._etcd.grant(ttl_s).id


class Hands:
    def __init__(self, world: World) -> None:
        self.world = world
        serials = itertools.count(1)
        self.operator = OperatorClient(
            world.operator_store, world.keys, world.clock, author="operator", new_id=lambda: f"{next(serials):04d}"
        )
        self.operator.entries = _Entries(world)
        self._shutdowns: dict[asyncio.Task[bool], tuple[SimHost, int]] = {}

    # --- setting up

    async def configure(self, config: ClusterConfig) -> None:
        await self.world.operator_store.txn([], [Put(self.world.keys.config, encode(config))])

    async def register(self, node: str, *, fence: bool, labels: Mapping[str, str] | None = None, **fields: Any) -> None:
        spec = NodeSpec(name=node, fence=(FENCE_DEVICE,) if fence else (), labels=dict(labels or {}), **fields)
        await self.world.operator_store.txn([], [Put(self.world.keys.node_spec(NodeName(node)), encode(spec))])

    async def add_domain(self, domain: FailoverDomain) -> None:
        await add_domain(self.operator, domain)

    async def add_service(self, service: Service) -> None:
        await services.put_service(self.operator, service)

    async def add_rule(self, rule: Rule) -> None:
        """Its vms may be still to come: it is to count for their first start."""
        await self.world.operator_store.txn([], [Put(self.world.keys.rule(rule.name), encode(rule))])

    async def add(self, name: str, *, memory_mib: int, vcpus: int, from_file: bool = False, **fields: Any) -> None:
        """``from_file``: its definition is not in the store, but in a file that every host sees."""
        xml = domain_xml(name, memory_mib=memory_mib, vcpus=vcpus)
        if from_file:
            self.world.fabric.files.held[f"/definitions/{name}.xml"] = xml
            fields |= {
                "definition": {"path": ["/definitions"]},
                "memory_mib": memory_mib,
                "uuid": default_uuid("sim", name),
            }
            xml = ""
        await vms.add_vm(self.operator, name, xml, **fields)

    # --- hosts

    def host(self, name: str) -> SimHost:
        return self.world.hosts[NodeName(name)]

    def shutdown(self, name: str) -> None:
        """In good order: the vms leave first, or are stopped. Goes on by itself."""
        host = self.host(name)
        task = asyncio.get_running_loop().create_task(host.shut_down(), name=f"shutdown-{name}")
        self._shutdowns[task] = (host, host.boots)
        task.add_done_callback(self._shutdowns.pop)

    async def see_shutdowns_through(self) -> None:
        """An agent that has not read yet how long it may take takes as long as it may by default.

        A host that has lost its power meanwhile has forgotten that it was to go off.
        """
        while under_way := [t for t, (host, boot) in self._shutdowns.items() if host.has_power and host.boots == boot]:
            await asyncio.wait(under_way, timeout=SHUTDOWN_LOOK_S)

    def break_switch(self, name: str) -> None:
        self.world.broken_switches.add(NodeName(name))

    def mend_switch(self, name: str) -> None:
        self.world.broken_switches.discard(NodeName(name))
        self.world.switches.pop(NodeName(name), None)

    # --- an operator

    async def drain(self, node: str) -> None:
        await nodes.drain(self.operator, node)

    async def undrain(self, node: str) -> None:
        await nodes.undrain(self.operator, node)

    async def confirm_off(self, node: str) -> Request:
        return await nodes.confirm_off(self.operator, node)

    async def start(self, vm: str) -> None:
        await vms.set_desired(self.operator, vm, Desired.RUNNING)

    async def stop(self, vm: str) -> None:
        await vms.set_desired(self.operator, vm, Desired.STOPPED)

    async def disable(self, vm: str) -> None:
        await vms.set_desired(self.operator, vm, Desired.DISABLED)

    async def enable(self, vm: str) -> None:
        await vms.enable(self.operator, vm)

    async def remove(self, vm: str) -> None:
        await vms.remove_vm(self.operator, vm)

    async def freeze(self, vm: str, *, for_s: float = 0.0) -> None:
        await holds.freeze(self.operator, vm, reason="hands off", for_s=for_s)

    async def unfreeze(self, vm: str) -> None:
        await holds.unfreeze(self.operator, vm)

    async def pause(self, mode: PauseMode, *, for_s: float = 0.0) -> None:
        await holds.pause(self.operator, mode, reason="hands off", for_s=for_s)

    async def resume(self) -> None:
        await holds.resume(self.operator)

    async def migrate(self, vm: str, to: str | None, *, style: MigrationStyle | None = None) -> Request:
        return await submit(self.operator, Verb.MIGRATE, vm=vm, node=to, style=style)

    async def cancel_migration(self, vm: str) -> Request:
        return await submit(self.operator, Verb.CANCEL, vm=vm)

    async def start_on(self, vm: str, node: str) -> Request:
        return await submit(self.operator, Verb.ENABLE, vm=vm, node=node)

    async def relocate(self, vm: str, to: str | None) -> Request:
        return await submit(self.operator, Verb.RELOCATE, vm=vm, node=to)

    async def restart(self, vm: str, kind: RestartKind | None = None) -> Request:
        return await submit(self.operator, Verb.RESTART, vm=vm, kind=kind)

    async def confirm_gone(self, vm: str) -> Request:
        return await submit(self.operator, Verb.CONFIRM_GONE, vm=vm)

    # --- a hand on a host, past vmha

    def virsh_migrate(self, vm: str, to: str, *, post_copy: bool = False) -> None:
        guest = self._guest(vm)
        host = self.world.hosts.get(NodeName(to))
        if host is not None and (refusal := host.gate.refusal(vm, guest.uuid, comes_in=True)):
            raise Refused(f"hook script execution failed: {refusal}")
        self.world.fabric.virsh_migrate(vm, guest.host.name, to, post_copy=post_copy)

    def virsh_destroy(self, vm: str) -> None:
        self.world.fabric.virsh_destroy(vm, self._guest(vm).host.name)

    def virsh_suspend(self, vm: str) -> None:
        self.world.fabric.virsh_suspend(vm, self._guest(vm).host.name)

    def virsh_resume(self, vm: str) -> None:
        self.world.fabric.virsh_resume(vm, self._guest(vm).host.name)

    def virsh_start(self, xml: str, on: str) -> None:
        host = self.world.fabric.host(on)
        if not host.has_power:
            raise Refused(f"{on} is off")
        facts = parse_domain(xml)
        refusal = self.host(on).gate.refusal(facts.name, facts.uuid or "")
        if refusal:
            raise Refused(f"hook script execution failed: {refusal}")
        self.world.fabric.virsh_start(xml, on)

    def crash(self, vm: str) -> None:
        self.world.fabric.crash(vm, host=self._guest(vm).host.name)

    def hang(self, vm: str) -> None:
        self._guest(vm)
        self.world.fabric.hang(vm)

    def power_off_guest(self, vm: str) -> None:
        self._guest(vm)
        self.world.fabric.power_off_guest(vm)

    def find_guest(self, vm: str) -> Guest | None:
        """Where its QEMU is. Of two the one whose processors run, else the one that is not on its way in."""
        found = [
            guest
            for host, _ in self.world.fabric.instances(vm)
            if (guest := self.world.fabric.host(host).guests.get(vm)) is not None
        ]
        running = [guest for guest in found if guest.state is DomainState.RUNNING]
        here = [guest for guest in found if guest.state is not DomainState.INCOMING]
        return next(iter(running or here or found), None)

    def _guest(self, vm: str) -> Guest:
        guest = self.find_guest(vm)
        if guest is None:
            raise Refused(f"{vm} runs nowhere")
        return guest
