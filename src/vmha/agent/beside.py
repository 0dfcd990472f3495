"""A second guest of a vm beside the vm's own, on the node that holds it: told of, and treated as the vm says.

Which one is too many is decided in ``policy.at_node.beside``. libvirt is asked by the guest's very own name: what is
asked by the vm's is about the guest that was taken for the vm's (agent/by_its_name.py).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from vmha.agent.claims import Claims
from vmha.agent.inventory import Inventory
from vmha.agent.ports import AgentPorts
from vmha.hypervisor.port import DomainMissing, Tag
from vmha.model.errors import VmhaError
from vmha.model.ids import Epoch, VmName
from vmha.model.records import Placement, SeenState
from vmha.model.vm import OnDuplicate
from vmha.policy.at_node.beside import too_many
from vmha.policy.at_node.known import Local
from vmha.policy.at_node.tracking import on_duplicate

log = structlog.get_logger(__name__)

RETRY_S = 5.0
"""After a failure. Until then what else is due for the vm is done: one that is stuck must not keep it from stopping."""


@dataclass(slots=True, kw_only=True)
class Beside:
    """``ports``: with a hypervisor that is asked by the guests' very own names."""

    ports: AgentPorts
    inventory: Inventory
    claims: Claims
    tell: Callable[[VmName, str, str], Awaitable[bool]]
    look_again: Callable[[set[VmName]], None]
    _told: dict[VmName, frozenset[str]] = field(default_factory=dict)
    _again_at: dict[VmName, float] = field(default_factory=dict)

    def is_due(self, vm: VmName) -> bool:
        """Cheap where there is none, which is always."""
        reading = self.inventory.reading
        if reading is None or vm not in reading.beside:
            self._told.pop(vm, None)
            self._again_at.pop(vm, None)
            return False
        view, snapshot = self.ports.read_snapshot().vms.get(vm), self.ports.read_snapshot()
        if view is None or view.placement is None or snapshot.unsettled or self.inventory.trouble:
            return False
        if self.ports.clock.now() < self._again_at.get(vm, 0.0):
            return False
        return bool(self._due(vm, view.placement.value))

    def _due(self, vm: VmName, placement: Placement) -> list[Local]:
        session, reading = self.ports.keeper.confirmed, self.inventory.reading
        spec = view.spec.value if (view := self.ports.read_snapshot().vms.get(vm)) and view.spec else None
        if session is None or reading is None or spec is None or not self.inventory.is_published(session):
            return []
        found = too_many(placement, reading.others(vm), me=self.ports.node, session=session.id)
        if on_duplicate(spec) is OnDuplicate.ALARM:
            return [one for one in found if one.name not in self._told.get(vm, ())]
        return found

    async def treat(self, vm: VmName) -> None:
        """Decided anew on what the store says, and on a fresh look: it ends or stops guests."""
        try:
            read = await self.claims.read(vm)
            await self.inventory.refresh()
            for one in self._due(vm, read.value) if read else ():
                await self._treat(vm, one)
            self.inventory.look_again()
            await self.inventory.refresh()
        except VmhaError as error:
            log.warning("a second guest of a vm here is not treated", vm=vm, why=str(error))
            self._again_at[vm] = self.ports.clock.now() + RETRY_S
            asyncio.get_running_loop().call_later(RETRY_S, self.look_again, {vm})

    async def _treat(self, vm: VmName, one: Local) -> None:
        reading, spec = self.inventory.reading, self.ports.read_snapshot().vms[vm].spec
        assert reading is not None
        assert spec is not None
        rightful, other = reading.domains[vm].name, one.name or str(vm)
        if one.name not in self._told.get(vm, ()):
            log.warning("a second guest of a vm runs here", vm=vm, guest=other, rightful=rightful)
            did = "ran" if one.state is SeenState.RUNNING else "had a guest"
            text = f"it {did} on {self.ports.node} twice: as {rightful}, which is its own, and as {other}"
            if not await self.tell(vm, "duplicate", text):
                return
            self._told[vm] = self._told.get(vm, frozenset()) | {one.name}
        try:
            match on_duplicate(spec.value):
                case OnDuplicate.PAUSE:
                    epoch = one.epoch if one.epoch is not None else Epoch(0)
                    second = Tag(cluster=self.ports.cluster, vm=vm, epoch=epoch, second=True)
                    await self.ports.hypervisor.set_tag(other, second)
                    if one.state is SeenState.RUNNING:
                        await self.ports.hypervisor.suspend(other)
                case OnDuplicate.DESTROY:
                    await self.ports.hypervisor.destroy(other)
                    text = f"the second guest of it on {self.ports.node}, {other}, is ended"
                    await self.tell(vm, "duplicate-ended", text)
                case OnDuplicate.ALARM:
                    pass  # it is on record by now
        except DomainMissing:
            pass  # it ended by itself
