"""Does to a guest what the placement asks for once, while its QEMU goes on: has it boot again, or resets it.

A guest that was asked says nothing; that it boots again is told by the hypervisor. One that is booting just then does
not hear the first word, so it is asked again.
"""

import asyncio
from dataclasses import dataclass, replace

import structlog

from vmha.agent.claims import Claims
from vmha.agent.inventory import Inventory
from vmha.agent.ports import AgentPorts
from vmha.hypervisor.port import DomainMissing
from vmha.model.errors import Rejected, VmhaError
from vmha.model.ids import VmName
from vmha.model.records import Placement, Stored
from vmha.model.restart import DeedStage, RestartKind

log = structlog.get_logger(__name__)

LOOK_S = 0.25
ASK_AGAIN_S = 5.0
RESET_SEEN_S = 10.0


@dataclass(slots=True)
class GuestDeeds:
    ports: AgentPorts
    inventory: Inventory
    claims: Claims

    async def do(self, read: Stored[Placement], *, reboot_timeout_s: float) -> None:
        """Raises: Lost: the record changed before anything was done."""
        deed = read.value.deed
        assert deed is not None
        if deed.stage is DeedStage.BEGUN:
            said = "its agent was restarted meanwhile: nobody knows whether it was done"
            await self._write(read, DeedStage.FAILED, said)
            return
        begun = await self._write(read, DeedStage.BEGUN, "")
        try:
            said = await self._carry_out(deed.kind, read.value.vm, reboot_timeout_s)
        except VmhaError as error:
            said = str(error)
        await self._write(begun, DeedStage.FAILED if said else DeedStage.DONE, said)

    async def _carry_out(self, kind: RestartKind, vm: VmName, reboot_timeout_s: float) -> str:
        """Returns why it did not come about; '' when the guest was seen to boot again."""
        before = self.ports.hypervisor.boots_again(vm)
        give_up_at = self.ports.clock.now() + (reboot_timeout_s if kind is RestartKind.REBOOT else RESET_SEEN_S)
        ask_at = self.ports.clock.now()
        if kind is RestartKind.RESET:
            await self.ports.hypervisor.reset(vm)
            ask_at = give_up_at
        while self.ports.hypervisor.boots_again(vm) == before:
            if (await self.inventory.refresh()).local(vm) is None:
                return "it ended instead"
            now = self.ports.clock.now()
            if now >= give_up_at:
                return (
                    f"it did not boot again in time; other kinds do not ask it: {RestartKind.RESET}, {RestartKind.HARD}"
                )
            if now >= ask_at:
                await self._ask(vm)
                ask_at = now + ASK_AGAIN_S
            await asyncio.sleep(LOOK_S)
        return ""

    async def _ask(self, vm: VmName) -> None:
        try:
            await self.ports.hypervisor.reboot(vm)
        except DomainMissing:
            return  # the next look sees it
        except Rejected:
            raise
        except VmhaError as error:
            log.info("its guest was not asked to boot again", vm=vm, why=str(error))

    async def _write(self, read: Stored[Placement], stage: DeedStage, said: str) -> Stored[Placement]:
        deed = read.value.deed
        assert deed is not None
        new = replace(read.value, deed=replace(deed, stage=stage, said=said))
        text = f"{deed.kind} of its guest: {said or stage}"
        return await self.claims.write(read, new, kind=f"guest-{stage}", text=text)
