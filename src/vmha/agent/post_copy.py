"""The source's part in a migration by post-copy: it puts the switch on record, makes it, and watches what is fetched.

``attend`` goes on beside the call that migrates, or without it: a migration outlives the agent that began it, and the
next agent attends to it from where it finds it. What it may do, and when, is said in ``policy.deciding.post_copy``.
"""

import asyncio
import contextlib
from dataclasses import dataclass, replace

import structlog

from vmha.agent.claims import Claims, Lost
from vmha.agent.inventory import Inventory, Reading
from vmha.agent.memory import Memory, try_of
from vmha.agent.ports import AgentPorts
from vmha.agent.sending import send
from vmha.hypervisor.port import MigrationFailed, MigrationOrder
from vmha.model.errors import VmhaError
from vmha.model.ids import VmName
from vmha.model.records import Observation, Phase, Placement, SeenState
from vmha.model.vm import Migration
from vmha.policy.deciding.post_copy import POSTCOPY, Fetching, find_seen, is_due, why_no_switch
from vmha.policy.state import transitions

log = structlog.get_logger(__name__)

LOOK_S = 1.0


@dataclass(slots=True, kw_only=True)
class PostCopy:
    ports: AgentPorts
    inventory: Inventory
    claims: Claims
    memory: Memory

    async def send(self, placement: Placement, how: Migration, order: MigrationOrder) -> None:
        """Migrate, attended to.

        Raises:
            MigrationFailed: also when nothing comes of it any more, whatever the hypervisor goes on waiting for.
            DomainMissing, HypervisorUnavailable
        """
        if not order.post_copy:
            await send(self.ports.hypervisor, self.ports.clock, order)
            return
        sending = asyncio.create_task(send(self.ports.hypervisor, self.ports.clock, order), name=f"send-{order.name}")
        attending: asyncio.Task[None] | None = None
        try:
            while not sending.done():
                attending = asyncio.create_task(self.attend(placement, how, order), name=f"post-copy-{order.name}")
                await asyncio.wait([sending, attending], return_when=asyncio.FIRST_COMPLETED)
                if attending.done():
                    attending.result()
                if not sending.done() and self.memory.given_up.get(placement.vm) == try_of(placement):
                    raise MigrationFailed(f"migrate {order.name} by post-copy: nothing is fetched any more")
            await sending
        finally:
            begun = [task for task in (sending, attending) if task is not None]
            for task in begun:
                task.cancel()
            await asyncio.gather(*begun, return_exceptions=True)

    async def attend(self, placement: Placement, how: Migration, order: MigrationOrder) -> None:
        """Until none is under way here, it is called off, or is given up."""
        fetching: Fetching | None = None
        taking_up: asyncio.Task[None] | None = None
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                try:
                    local = (await self.inventory.refresh()).local(placement.vm)
                    is_under_way = local is not None and (local.migrating or local.has_switched)
                    if local is None or not is_under_way or self._is_called_off(placement):
                        return
                    if not local.has_switched:
                        await self._switch_if_due(placement, how)
                        continue
                except VmhaError as error:
                    log.info("post-copy not attended to", vm=placement.vm, why=str(error))
                    continue
                fetching = await self._look_at(fetching or Fetching(moved_at=self.ports.clock.now()), placement)
                now = self.ports.clock.now()
                if fetching.is_over(self._at_target(placement), now):
                    self.memory.given_up[placement.vm] = try_of(placement)
                    return
                if fetching.is_to_be_taken_up(self._reason(placement.vm), now):
                    is_news, fetching = fetching.taken_up_at is None, replace(fetching, taken_up_at=now)
                    if taking_up is None or taking_up.done():
                        taking_up = asyncio.create_task(self._take_up(order, is_news), name=f"take-up-{order.name}")
        finally:
            if taking_up is not None:
                taking_up.cancel()

    async def _switch_if_due(self, placement: Placement, how: Migration) -> None:
        """
        Raises:
            VmhaError: it has not switched, for all that is known; the next look sees.
        """
        vm = placement.vm
        progress = await self.ports.hypervisor.migration_progress(vm)
        if progress is None or not is_due(progress, how):
            return
        read = await self.claims.read(vm)
        if read is None or try_of(read.value) != try_of(placement):
            return
        snapshot = self.ports.read_snapshot()
        if why := why_no_switch(read.value, snapshot.vms.get(vm), snapshot):
            raise Lost(f"it does not switch: {why}")
        if not read.value.switched:
            target = placement.target
            beat = snapshot.nodes[target].beat if target else None
            assert target
            assert beat
            text = f"it switches to {target} by post-copy: {progress}"
            read = await self.claims.write(
                read,
                transitions.switch(read.value),
                kind="post-copy",
                text=text,
                also_living=(target, beat.created),
            )
        if not self.ports.keeper.may_start():
            raise Lost("too little time is left before the guard's deadline")
        await self.ports.hypervisor.start_post_copy(vm)
        self.inventory.look_again()

    async def _look_at(self, fetching: Fetching, placement: Placement) -> Fetching:
        progress = None
        with contextlib.suppress(VmhaError):
            progress = await self.ports.hypervisor.migration_progress(placement.vm)
        return fetching.look(progress, self.ports.clock.now())

    def _at_target(self, placement: Placement) -> Observation | None:
        snapshot = self.ports.read_snapshot()
        return find_seen(placement.target, snapshot.vms.get(placement.vm), snapshot)

    async def _take_up(self, order: MigrationOrder, is_news: bool) -> None:
        """What libvirt answers is no news, good or bad: it says "failed" of one that goes on from there."""
        try:
            if is_news:
                text = "nothing is fetched any more; its connection is to be taken up again"
                await self.claims.tell("post-copy", text, order.tag.vm)
            await self.ports.hypervisor.migrate(order.again())
        except VmhaError as error:
            log.info("post-copy taken up again", vm=order.name, said=str(error))

    def _reason(self, vm: VmName) -> str:
        view = self.inventory.reading.domains.get(vm) if self.inventory.reading else None
        return view.reason if view else ""

    def _is_called_off(self, placement: Placement) -> bool:
        """Or another's by now."""
        view = self.ports.mirror.vm(placement.vm)
        now = view.placement.value if view and view.placement else None
        is_it = now is not None and now.phase is Phase.MIGRATING and try_of(now) == try_of(placement)
        return now is None or not is_it or (now.cancel is not None and not now.switched)


def is_lost_half(reading: Reading | None, vm: VmName) -> bool:
    """Whether what runs here, and is to be ended, lacks memory."""
    view, local = (reading.domains.get(vm), reading.local(vm)) if reading else (None, None)
    if view is None or local is None or local.state not in (SeenState.RUNNING, SeenState.CRASHED):
        return False
    return view.reason.startswith(POSTCOPY)
