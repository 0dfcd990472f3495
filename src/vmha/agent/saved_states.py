"""Keeps a guest's memory over a stop, and lets the next start go on from it; the rules are in at_node/saved_state.py.

Nothing here stands in the way of a stop or a start: what can not be saved is shut down, what can not be restored
boots, and both are told in the journal.
"""

from contextlib import suppress
from dataclasses import dataclass

import structlog

from vmha.agent.claims import Claims
from vmha.agent.inventory import Inventory
from vmha.agent.ports import AgentPorts
from vmha.hypervisor.files import FileTrouble
from vmha.hypervisor.port import DomainExists, SaveFailed, StartFailed, Tag
from vmha.hypervisor.saved_file import COMPLETE
from vmha.model.errors import VmhaError
from vmha.model.ids import VmName
from vmha.model.records import Placement, SavedImage
from vmha.model.vm import VmSpec
from vmha.policy.at_node.saved_state import image_path, used_path, why_not_used

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class SavedStates:
    ports: AgentPorts
    inventory: Inventory
    claims: Claims

    async def save(self, placement: Placement, spec: VmSpec) -> bool:
        """Whether it is written and the guest gone. Not so: shut it down.

        Raises:
            DomainMissing, HypervisorUnavailable: look again.
        """
        assert spec.saved_state
        vm = placement.vm
        path = image_path(spec, placement.epoch)
        self.inventory.show_progress(vm, f"its memory is being written to {path}")
        try:
            await self.ports.hypervisor.save(vm, path, timeout_s=spec.saved_state.timeout_s)
        except SaveFailed as error:
            await self._tell("not-saved", f"its memory was not saved, it is shut down: {error}", vm)
            return False
        finally:
            self.inventory.show_progress(vm, "")
        return True

    async def find(self, placement: Placement, spec: VmSpec | None) -> SavedImage | None:
        """What a stop has left to go on from; looked for in the file itself, whoever was there when it was written."""
        if spec is None or spec.saved_state is None:
            return None
        path = image_path(spec, placement.epoch)
        try:
            head = await self.ports.files.head(path, len(COMPLETE))
        except FileTrouble as error:
            log.warning("saved state not found", vm=placement.vm, why=str(error))
            return None
        if head != COMPLETE:
            return None
        return SavedImage(
            file=path,
            epoch=placement.epoch,
            definition=placement.definition,
            node=self.ports.node,
            at=self.ports.clock.wall(),
        )

    async def forget_namesake(self, placement: Placement, spec: VmSpec) -> None:
        """Before a run begins: a file under its number is of another history of the store, and not its memory."""
        if spec.saved_state is not None:
            with suppress(FileTrouble):
                await self.ports.files.remove(image_path(spec, placement.epoch))

    async def use_up(self, image: SavedImage, spec: VmSpec, definition: str) -> str | None:
        """The file to go on from, under the name that nobody else can give it any more. None: boot."""
        if why := why_not_used(image, spec, definition):
            with suppress(FileTrouble):
                await self.ports.files.rename(image.file, used_path(image))  # nor by a hand
            await self._tell("not-restored", f"it boots, its saved state is left out: {why}", VmName(spec.name))
            return None
        try:
            await self.ports.files.rename(image.file, used_path(image))
        except FileTrouble as error:
            await self._tell("not-restored", f"it boots, its saved state can not be used: {error}", VmName(spec.name))
            return None
        return used_path(image)

    async def restore(self, path: str, image: SavedImage, placement: Placement, spec: VmSpec) -> bool:
        """Whether the start is over: it goes on, or is here in another way. Not so: boot.

        Raises:
            HypervisorUnavailable: it may still come to life.
        """
        vm = placement.vm
        timeout_s = spec.saved_state.timeout_s if spec.saved_state else spec.start_timeout_s
        try:
            await self.ports.hypervisor.restore(
                path,
                name=vm,
                uuid=spec.uuid,
                saved=Tag(cluster=self.ports.cluster, vm=vm, epoch=image.epoch),
                tag=Tag(cluster=self.ports.cluster, vm=vm, epoch=placement.epoch),
                timeout_s=timeout_s,
            )
        except (StartFailed, DomainExists) as error:
            if (await self.inventory.refresh()).local(vm) is not None:
                return True  # the next look says what that is
            await self._tell("not-restored", f"it boots, its saved state was refused ({path}): {error}", vm)
            return False
        with suppress(FileTrouble):
            await self.ports.files.remove(path)
        await self._tell("restored", f"it goes on from its memory as it was saved on {image.node}", vm)
        return True

    async def _tell(self, kind: str, text: str, vm: VmName) -> None:
        log.info(kind, vm=vm, text=text)
        with suppress(VmhaError):
            await self.claims.tell(kind, text, vm)
