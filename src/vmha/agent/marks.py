"""Notes whose a guest is, in its own metadata, and what it is called and how it came, in the record of its vm."""

from dataclasses import dataclass

from vmha.agent.claims import Claims
from vmha.agent.inventory import Inventory
from vmha.agent.memory import Memory
from vmha.agent.ports import AgentPorts
from vmha.hypervisor.port import Tag
from vmha.model.ids import Epoch, VmName
from vmha.model.migration import Moved
from vmha.model.records import Placement, SeenState, Stored
from vmha.model.vm import Handover, VmSpec
from vmha.policy.state import transitions


@dataclass(slots=True, kw_only=True)
class Marks:
    ports: AgentPorts
    inventory: Inventory
    claims: Claims
    memory: Memory

    async def mark(self, read: Stored[Placement]) -> None:
        """The record says what the guest is called, and the guest's metadata whose it is."""
        placement, local = read.value, (await self.inventory.refresh()).local(read.value.vm)
        if local is not None and local.name != placement.guest:
            placement = transitions.call(placement, local.name)
            text = f"its guest on {self.ports.node} is called {local.name or placement.vm}"
            await self.claims.write(read, placement, kind="named", text=text)
        tag = Tag(cluster=self.ports.cluster, vm=placement.vm, epoch=placement.epoch)
        await self.ports.hypervisor.set_tag(placement.vm, tag)
        self.inventory.look_again()

    async def measure(self, read: Stored[Placement], spec: VmSpec | None) -> None:
        """Once for each arrival; what a process did not see itself is not known to it."""
        placement = read.value
        came = await self.ports.hypervisor.read_arrival(placement.vm)
        here = (await self.inventory.refresh()).local(placement.vm)
        is_libvirts = spec is not None and spec.migration.handover is Handover.LIBVIRT
        stood_s = 0.0 if is_libvirts else self.inventory.stood_s(placement.vm)
        is_known = here is not None and here.state is SeenState.RUNNING  # else somebody had paused it before it left
        if came is not None and stood_s is not None and is_known and placement.last_node:
            moved = Moved(
                source=placement.last_node,
                total_s=round(came.total_s, 3),
                switch_s=round(came.downtime_s, 3),
                stood_s=round(max(0.0, stood_s), 3),
            )
            await self.claims.write(read, transitions.measured(placement, moved), kind="migrated", text=str(moved))
        self.memory.measured[placement.vm] = placement.epoch

    async def pause_second(self, vm: VmName) -> None:
        """Marked first: an agent that dies in between leaves a copy that runs on, and is found again.

        Not at once if it came by migration: it may be the rightful one, and what its source shows of the past. So it is
        only set aside, and marked after that: what runs loses that mark.
        """
        view = (await self.inventory.refresh()).domains.get(vm)
        is_booted = view is not None and view.reason == "booted"
        if is_booted:
            await self.mark_second(vm)
        await self.ports.hypervisor.suspend(vm)
        here = (await self.inventory.refresh()).local(vm)
        if not is_booted and here is not None and here.tagged and here.state is SeenState.PAUSED:
            epoch = here.epoch if here.epoch is not None else Epoch(0)
            await self.ports.hypervisor.set_tag(vm, Tag(cluster=self.ports.cluster, vm=vm, epoch=epoch, aside=True))

    async def mark_second(self, vm: VmName) -> None:
        here = (await self.inventory.refresh()).local(vm)
        epoch = here.epoch if here and here.epoch is not None else Epoch(0)
        await self.ports.hypervisor.set_tag(vm, Tag(cluster=self.ports.cluster, vm=vm, epoch=epoch, second=True))
