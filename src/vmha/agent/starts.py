"""Brings a vm's guest to life on this node: by a start, or by letting go on what has arrived.

The order in it is the law: claim in etcd, look at the guard's time, then and only then the hypervisor.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from vmha.agent.claims import Claims, Lost
from vmha.agent.definitions import Definitions, Found
from vmha.agent.health import HealthWatch
from vmha.agent.inventory import Inventory
from vmha.agent.memory import Memory
from vmha.agent.ports import AgentPorts
from vmha.agent.saved_states import SavedStates
from vmha.fencing.gate_files import GateUnavailable
from vmha.hypervisor.port import DomainExists, DomainMissing, HypervisorUnavailable, StartFailed
from vmha.model.domain_xml import tagged
from vmha.model.errors import Refused, Rejected, Retryable
from vmha.model.ids import VmName
from vmha.model.records import Failure, Phase, Placement, RunEnd, SavedImage, Stored
from vmha.model.vm import VmSpec
from vmha.policy.at_node.not_let_go import refused
from vmha.policy.state import transitions
from vmha.policy.state.snapshot import VmView
from vmha.store.port import Compare
from vmha.tracing.operation import part

LOOK_S = 0.5
UNSURE_START_S = 5.0


@dataclass(slots=True, kw_only=True)
class Starts:
    ports: AgentPorts
    inventory: Inventory
    claims: Claims
    memory: Memory
    health: HealthWatch
    definitions: Definitions
    saved_states: SavedStates

    async def start(self, read: Stored[Placement], spec: VmSpec) -> None:
        """``starting`` names the vm until nothing of the start can come to life any more: no session begins before."""
        vm, saved = read.value.vm, read.value.saved
        self.memory.starting.add(vm)
        try:
            found, trouble = await self._find_definition(spec)
            also = self.claims.nothing_holds_it(vm, self.ports.read_snapshot())
            held = await self.claim(read, "claimed", found, also=also)
            try:
                if found is None:
                    raise StartFailed(trouble)
                await self._create(held, spec, found, saved)
            except (DomainExists, StartFailed, Rejected, GateUnavailable) as error:
                await self._start_failed(held, str(error))  # unless it is here, and ours: the next look adopts it
            await self.end_what_came_too_late(held)
        finally:
            self.memory.starting.discard(vm)

    async def _find_definition(self, spec: VmSpec) -> tuple[Found | None, str]:
        """Before the claim, which says how much memory it takes; what is wrong with it a start that fails will tell."""
        try:
            return await self.definitions.find(spec), ""
        except StartFailed as error:
            return None, str(error)

    async def _create(self, held: Stored[Placement], spec: VmSpec, found: Found, saved: SavedImage | None) -> None:
        await self.saved_states.forget_namesake(held.value, spec)
        image = await self.saved_states.use_up(saved, spec, found.learned.definition) if saved else None
        restore = self.saved_states.restore
        if saved and image and await self._let_come(held, spec, restore(image, saved, held.value, spec)):
            return
        xml = tagged(found.xml, cluster=self.ports.cluster, vm=held.value.vm, epoch=held.value.epoch, uuid=spec.uuid)
        await self._let_come(held, spec, self.ports.hypervisor.start(xml, timeout_s=spec.start_timeout_s))

    async def _let_come(
        self, held: Stored[Placement], spec: VmSpec, coming: Coroutine[Any, Any, bool | None]
    ) -> bool | None:
        """Carry out what brings a guest to life: by a grant of the gate, and in time before the guard's deadline."""
        session = held.value.session
        assert session
        try:
            if not self.ports.keeper.may_start():
                raise StartFailed("too little time is left before the guard's deadline")
            self.health.started[held.value.vm] = held.value.epoch
            self.ports.gate.grant(spec.uuid, epoch=held.value.epoch, session=session)
            try:
                with part("hypervisor"):
                    return await coming
            except HypervisorUnavailable:
                # Before the wait: a start that was still queued is refused from now on.
                self.ports.gate.withdraw(spec.uuid)
                await self.wait_out(held.value.vm)
                raise
            finally:
                self.ports.gate.withdraw(spec.uuid)
        finally:
            coming.close()

    async def _start_failed(self, held: Stored[Placement], error: str) -> None:
        """Verified by looking: only a vm that is not here may be given back."""
        if (await self.inventory.refresh()).local(held.value.vm) is not None:
            return
        failure = Failure(node=self.ports.node, at=self.ports.clock.wall(), error=error)
        new = transitions.release(held.value, RunEnd.START_FAILED, error, self.ports.clock.wall(), failure=failure)
        text = f"it did not start on {failure.node}: {error}"
        await self.claims.write(held, new, kind="start-failed", text=text, gone_here=True)

    async def resume_arrival(self, read: Stored[Placement]) -> None:
        held = await self.claim(read, "arrived")
        if not self.ports.keeper.may_start():
            raise Lost("too little time is left before the guard's deadline")
        await self._let_go(held.value)
        await self.end_what_came_too_late(held)

    async def _let_go(self, held: Placement) -> None:
        """Raises: Retryable: the hypervisor refuses. Its disk may be locked by what is left of it at its source."""
        vm, before = held.vm, self.memory.not_let_go.get(held.vm)
        try:
            await self.ports.hypervisor.resume(vm)
        except DomainMissing:
            raise
        except Refused as error:
            self.memory.not_let_go[vm] = refused(before, held.epoch, str(error), self.ports.clock.now())
            if before is None or before.epoch != held.epoch:
                await self.claims.tell("not-let-go", f"it can not be let go on {self.ports.node}: {error}", vm)
            self.inventory.show_progress(vm, f"can not be let go: {error}")
            raise Retryable(f"{vm} can not be let go: {error}") from error
        if before is not None:
            del self.memory.not_let_go[vm]
            self.inventory.show_progress(vm, "")

    async def claim(
        self, read: Stored[Placement], kind: str, found: Found | None = None, *, also: Sequence[Compare] = ()
    ) -> Stored[Placement]:
        if read.value.phase is Phase.HELD:
            return read
        left = await self.ports.hypervisor.recall_migration(read.value.vm) or ""
        session = self.ports.keeper.current
        if read.value.node != self.ports.node:
            raise Lost(f"it is {read.value.node}'s")
        if session is None or not self.ports.keeper.may_start():
            raise Lost("this node may not start vms now")
        learned = found.learned if found else transitions.NOTHING_LEARNED
        new = transitions.claim(read.value, session.id, self.ports.clock.wall(), learned=learned, left_before=left)
        return await self.claims.write(read, new, kind=kind, text=f"{kind} by {self.ports.node}", also=also)

    async def end_what_came_too_late(self, held: Stored[Placement]) -> None:
        """The session ended while the hypervisor was at work: another node may run it by now."""
        session = self.ports.keeper.current
        if session is None or session.over.is_set() or session.id != held.value.session:
            await self.ports.hypervisor.destroy(held.value.vm)
            raise Lost("the session ended during the start")

    async def wait_out(self, vm: VmName) -> None:
        """A start whose answer is missing may still happen: a thawed libvirtd carries out what it had received.

        Giving the vm back now could let it run twice, so absence must be seen for a while after libvirtd answers.
        """
        absent_since: float | None = None
        while absent_since is None or self.ports.clock.now() - absent_since < UNSURE_START_S:
            await asyncio.sleep(LOOK_S)
            try:
                here = (await self.inventory.refresh()).local(vm) is not None
            except HypervisorUnavailable:
                absent_since = None
                continue
            if here:
                return
            absent_since = absent_since if absent_since is not None else self.ports.clock.now()

    def starts_a_removed_one(self) -> bool:
        return any(is_removed(self.ports.mirror.vm(vm)) for vm in self.memory.starting)


def is_removed(view: VmView | None) -> bool:
    """Taken out of the cluster meanwhile: its guest is nobody's to end any more."""
    return view is None or view.spec is None
