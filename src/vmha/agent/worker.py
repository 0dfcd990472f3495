"""Carries out one action on one vm. One at a time per vm; every step re-checks what must hold."""

from vmha.agent.claims import Claims, readable
from vmha.agent.definitions import Definitions
from vmha.agent.departures import Departures
from vmha.agent.endings import Endings
from vmha.agent.guest_deeds import GuestDeeds
from vmha.agent.health import HealthWatch
from vmha.agent.inventory import Inventory
from vmha.agent.marks import Marks
from vmha.agent.memory import Memory
from vmha.agent.migrating import Migrating
from vmha.agent.migration_watch import MigrationWatch
from vmha.agent.pauses import Pauses
from vmha.agent.ports import AgentPorts
from vmha.agent.post_copy import PostCopy, is_lost_half
from vmha.agent.saved_states import SavedStates
from vmha.agent.starts import Starts
from vmha.agent.troubled import Troubled
from vmha.model.ids import Revision, VmName
from vmha.model.records import Placement, RunEnd, Stored
from vmha.model.vm import VmSpec
from vmha.policy.at_node.not_let_go import why_given_up
from vmha.policy.at_node.reconcile import Action
from vmha.policy.deciding.post_copy import SPLIT


class Worker:
    """The hands of an agent: which of them does it, whatever is decided."""

    def __init__(
        self,
        ports: AgentPorts,
        inventory: Inventory,
        claims: Claims,
        memory: Memory,
        *,
        migration_uri: str,
        watch: MigrationWatch,
        health: HealthWatch,
        pauses: Pauses,
    ) -> None:
        self.ports, self.inventory, self.memory = ports, inventory, memory
        saved_states = SavedStates(ports=ports, inventory=inventory, claims=claims)
        self.troubled = Troubled(ports=ports, claims=claims, health=health, pauses=pauses)
        self.starts = Starts(
            ports=ports,
            inventory=inventory,
            claims=claims,
            memory=memory,
            health=health,
            definitions=Definitions(ports),
            saved_states=saved_states,
        )
        self.endings = Endings(
            ports=ports,
            inventory=inventory,
            claims=claims,
            memory=memory,
            saved_states=saved_states,
            starts=self.starts,
            troubled=self.troubled,
        )
        self.migrating = Migrating(
            ports=ports,
            inventory=inventory,
            claims=claims,
            memory=memory,
            migration_uri=migration_uri,
            watch=watch,
            post_copy=PostCopy(ports=ports, inventory=inventory, claims=claims, memory=memory),
        )
        self.marks = Marks(ports=ports, inventory=inventory, claims=claims, memory=memory)
        self.deeds = GuestDeeds(ports, inventory, claims)
        self.departures = Departures(ports, inventory, claims)

    async def do(self, action: Action, read: Stored[Placement] | None, vm: VmName, spec: VmSpec | None) -> None:
        """Raises ``VmhaError`` when it could not be done; the next look decides again."""
        if await self._do_without_a_claim(action, read, vm, spec):
            return
        assert read is not None
        match action:
            case Action.START:
                await self.starts.start(read, readable(spec))
            case Action.ADOPT:
                await self.marks.mark(await self.starts.claim(read, "adopted"))
            case Action.TAG:
                await self.marks.mark(read)
            case Action.RESUME_ARRIVAL:
                await self.starts.resume_arrival(read)
            case Action.END_UNWELL:
                await self.troubled.end(read)
            case Action.RESUME_PAUSED:
                await self.troubled.resume(read)
                await self.starts.end_what_came_too_late(read)
            case Action.MEASURE:
                await self.marks.measure(read, spec)
            case Action.STOP:
                await self.endings.stop(read.value, readable(spec))
            case Action.DEED:
                await self.deeds.do(read, reboot_timeout_s=readable(spec).stop_timeout_s)
            case Action.MIGRATE if spec is None:
                await self.migrating.keep(read)  # no longer managed: it stays where it is
            case Action.MIGRATE:
                await self.migrating.migrate(read, readable(spec))
            case Action.ATTEND:
                await self.migrating.attend(read, spec)
            case Action.HAND_OVER:
                await self.migrating.hand_over(read, spec)
            case Action.RESUME_AND_KEEP:
                await self.ports.hypervisor.resume(vm)
                await self.migrating.keep(read)
            case Action.KEEP:
                await self.migrating.keep(read)
            case Action.RELEASE:
                await self.endings.release(read, spec)
            case Action.DEPART:
                await self.departures.depart(read)
            case Action.DEPART_UNSURE:
                await self.departures.depart_unsure(read)
            case Action.NOTE_LEAVING:
                await self.departures.note(read)
            case _:
                raise AssertionError(action)

    def _why_given_up(self, read: Stored[Placement] | None, spec: VmSpec | None) -> str:
        refusal = self.memory.not_let_go.get(read.value.vm) if read else None
        return why_given_up(refusal, read.value, spec, self.ports.clock.now()) if read else ""

    async def _do_without_a_claim(
        self, action: Action, read: Stored[Placement] | None, vm: VmName, spec: VmSpec | None
    ) -> bool:
        """What may be about a vm that nobody holds, or that is not managed."""
        match action:
            case Action.UNTAG:
                await self.ports.hypervisor.set_tag(vm, None)
            case Action.CLEAR:
                under = read.modified if read else Revision(0)
                if not self.inventory.is_beside_its_own(vm):
                    self.memory.cleared[vm] = under
                if is_lost_half(self.inventory.reading, vm):
                    self.troubled.remember(vm, under, RunEnd.CRASHED, SPLIT)
                elif why := self._why_given_up(read, spec):  # it boots anew, elsewhere if it can
                    self.troubled.remember(vm, under, RunEnd.CRASHED, why, leaves=True)
                await self.ports.hypervisor.destroy(vm)
            case Action.ALARM_DUPLICATE | Action.NOTHING | Action.WAIT:
                pass  # an alarm is on record by now
            case Action.PAUSE_DUPLICATE:
                await self.marks.pause_second(vm)
            case Action.MARK_SECOND:
                await self.marks.mark_second(vm)
            case _:
                return False
        return True
