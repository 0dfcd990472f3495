"""Ends a vm's guest because it is to be stopped, and says on record that it has ended, and how.

Whatever was asked, gone is what the look says, and nothing else.
"""

import asyncio
from dataclasses import dataclass

from vmha.agent.claims import Claims, Lost
from vmha.agent.inventory import Inventory
from vmha.agent.memory import Memory
from vmha.agent.orders import ENDED
from vmha.agent.ports import AgentPorts
from vmha.agent.saved_states import SavedStates
from vmha.agent.shutting_down import ask_to_shut_down
from vmha.agent.starts import Starts, is_removed
from vmha.agent.troubled import Troubled
from vmha.hypervisor.port import DomainMissing, Ending
from vmha.model.records import Phase, Placement, RunEnd, SeenState, Stored
from vmha.model.vm import VmSpec
from vmha.policy.at_node.saved_state import is_to_be_saved
from vmha.policy.state import transitions

LOOK_S = 0.5
ASK_AGAIN_S = 10.0
"""A guest that was booting when it was asked to shut down has not heard it: it is asked again after so long."""


@dataclass(slots=True, kw_only=True)
class Endings:
    ports: AgentPorts
    inventory: Inventory
    claims: Claims
    memory: Memory
    saved_states: SavedStates
    starts: Starts
    troubled: Troubled

    async def stop(self, placement: Placement, spec: VmSpec) -> None:
        """Asked first; by force when the guest ignores it, unless that is forbidden. Gone is what the look says.

        A QEMU that stands still answers no shutdown, ever, and gets no more time than a guest that ignores one. When it
        is libvirtd that does not answer, the look says so: nothing is ended then that was not asked.
        """
        vm = placement.vm
        if is_to_be_saved(spec, placement, self.ports.read_snapshot().requests) and await self._save(placement, spec):
            return
        is_forced = placement.by_force and not spec.no_kill
        until = self.ports.clock.now() + (0.0 if is_forced else spec.stop_timeout_s)
        began = ask_at = self.ports.clock.now()
        while (here := (await self.inventory.refresh()).local(vm)) is not None:
            if here.state is SeenState.OUTGOING or here.migrating is not placement.leaving:
                return  # a hand's migration: that goes on record first, and at its end the outcome decides
            if here.second:
                return  # its own has gone; what stood beside it hears no shutdown, and is ended
            left = until - self.ports.clock.now()
            if left <= 0:
                if is_removed(self.ports.mirror.vm(vm)):
                    return
                if spec.no_kill:
                    self.inventory.show_progress(vm, "ignores the shutdown; no_kill forbids to end it by force")
                    return
                await self.ports.hypervisor.destroy(vm)
                self.inventory.look_again()
                return
            if self.ports.clock.now() >= ask_at:
                is_first = ask_at == began
                said = await ask_to_shut_down(self.ports.hypervisor, vm, spec.shutdown_by, is_first=is_first)
                if said:
                    self.inventory.show_progress(vm, said)
                ask_at = self.ports.clock.now() + ASK_AGAIN_S
            await asyncio.sleep(min(LOOK_S, left))

    async def _save(self, placement: Placement, spec: VmSpec) -> bool:
        try:
            return await self.saved_states.save(placement, spec)
        except DomainMissing:
            return True
        finally:
            self.inventory.look_again()

    async def release(self, read: Stored[Placement], spec: VmSpec | None) -> None:
        placement = read.value
        ending = self.ports.hypervisor.find_ending(placement.vm) or Ending.UNKNOWN
        is_known = ending is not Ending.UNKNOWN or self.memory.left_unseen.get(placement.vm) == read.modified
        if not is_known and await self._has_left_unseen(placement):
            self.memory.left_unseen[placement.vm] = read.modified  # the next look decides what follows from it
            return
        if placement.phase is Phase.HELD and ending is Ending.UNKNOWN:
            await self.starts.wait_out(placement.vm)  # a former process of this agent may have asked for its start
        if (await self.inventory.refresh()).local(placement.vm) is not None:
            raise Lost("it is still here")
        told = self.ports.hypervisor.find_ending(placement.vm) or Ending.UNKNOWN
        if ending is Ending.UNKNOWN and told is not Ending.UNKNOWN:
            raise Lost(f"its end has been told meanwhile: {told}")  # the list was a moment ahead of the event
        ended, why, failure, wall = RunEnd.ASKED, "as asked", None, self.ports.clock.wall()
        if placement.phase is not Phase.STOPPING:
            ended, why = ENDED.get(ending, ENDED[Ending.UNKNOWN])
            if ended is RunEnd.DESTROYED and (ours := self.troubled.find_ending(read, wall)):
                ended, why, failure = ours
            elif ended is RunEnd.DESTROYED and self.memory.cleared.get(placement.vm) == read.modified:
                ended, why = RunEnd.CRASHED, "what was left of it was ended"  # by us, and by nobody's hand
        saved = None
        if placement.phase is Phase.STOPPING and ending in (Ending.SAVED, Ending.UNKNOWN):
            saved = await self.saved_states.find(placement, spec)
            why = f"{why}; its memory is saved" if saved else why
        new = transitions.release(placement, ended, why, wall, failure=failure, saved=saved)
        if placement.phase is Phase.MIGRATING and is_known and ending in (Ending.MIGRATED, Ending.UNKNOWN):
            new = transitions.lost_at_target(new, placement)
        text = f"it does not run on {self.ports.node} any more: {new.ended_why}"
        await self.claims.write(read, new, kind="stopped", text=text, gone_here=True)

    async def _has_left_unseen(self, placement: Placement) -> bool:
        """It left by migration while no agent was here to see it. A note from before its claim is of an earlier run."""
        left = await self.ports.hypervisor.recall_migration(placement.vm)
        if left is None:
            return False
        return placement.phase is Phase.MIGRATING or transitions.is_its_departure(placement, left)
