"""Carries out one action on one vm. One at a time per vm; every step re-checks what must hold.

The order in a start is the law: claim in etcd, look at the guard's time, then and only then the hypervisor.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from vmha.agent import took
from vmha.agent.alive import see_alive
from vmha.agent.claims import Claims, Lost, readable
from vmha.agent.definitions import Definitions, Found
from vmha.agent.departures import Departures
from vmha.agent.guest_deeds import GuestDeeds
from vmha.agent.health import HealthWatch
from vmha.agent.inventory import Inventory
from vmha.agent.migration_watch import MigrationWatch, Try, try_of
from vmha.agent.orders import ENDED, migration_order
from vmha.agent.ports import AgentPorts
from vmha.agent.post_copy import PostCopy, is_lost_half
from vmha.agent.saved_states import SavedStates
from vmha.agent.shutting_down import ask_to_shut_down
from vmha.agent.troubled import Troubled
from vmha.fencing.gate_files import GateUnavailable
from vmha.hypervisor.port import (
    DomainExists,
    DomainMissing,
    Ending,
    HypervisorUnavailable,
    MigrationFailed,
    MigrationOrder,
    StartFailed,
    Tag,
)
from vmha.model.domain_xml import tagged
from vmha.model.errors import Rejected
from vmha.model.ids import Epoch, Revision, VmName
from vmha.model.migration import Moved
from vmha.model.records import Failure, Phase, Placement, RunEnd, SavedImage, SeenState, Stored
from vmha.model.vm import Handover, Migration, VmSpec
from vmha.policy.at_node.reconcile import Action
from vmha.policy.at_node.saved_state import is_to_be_saved
from vmha.policy.deciding.post_copy import SPLIT, runs_at_once
from vmha.policy.state import transitions
from vmha.store.port import Compare
from vmha.tracing.operation import part

log = structlog.get_logger(__name__)

STOP_LOOK_S = 0.5
ASK_AGAIN_S = 10.0
"""A guest that was booting when it was asked to shut down has not heard it: it is asked again after so long."""
UNSURE_START_S = 5.0


@dataclass(slots=True, kw_only=True)
class Worker:
    """The hands of an agent. ``migrations_tried`` tells the next decision what this process has already done;
    ``migrated``, which migrations libvirt has said to be done;
    ``left_unseen``, which vms left by migration while it was not there to see it, under which placement's revision;
    ``cleared``, what was left of a guest and it has ended, under which one.
    """

    ports: AgentPorts
    inventory: Inventory
    claims: Claims
    migration_uri: str
    watch: MigrationWatch
    post_copy: PostCopy
    health: HealthWatch
    definitions: Definitions
    saved_states: SavedStates
    troubled: Troubled
    starting: set[VmName] = field(default_factory=set)
    migrations_tried: dict[VmName, tuple[Try, str]] = field(default_factory=dict)
    migrated: dict[VmName, Try] = field(default_factory=dict)
    left_unseen: dict[VmName, Revision] = field(default_factory=dict)
    cleared: dict[VmName, Revision] = field(default_factory=dict)
    measured: dict[VmName, Epoch] = field(default_factory=dict)

    async def do(self, action: Action, read: Stored[Placement] | None, vm: VmName, spec: VmSpec | None) -> None:
        """Raises ``VmhaError`` when it could not be done; the next look decides again."""
        if await self._do_without_a_claim(action, read, vm):
            return
        assert read is not None
        match action:
            case Action.START:
                await self._start(read, readable(spec))
            case Action.ADOPT:
                await self._mark(await self._claim(read, "adopted"))
            case Action.TAG:
                await self._mark(read)
            case Action.RESUME_ARRIVAL:
                await self._resume_arrival(read)
            case Action.END_UNWELL:
                await self.troubled.end(read)
            case Action.RESUME_PAUSED:
                await self.troubled.resume(read)
                await self._end_what_came_too_late(read)
            case Action.MEASURE:
                await self._measure(read, spec)
            case Action.STOP:
                await self._stop(read.value, readable(spec))
            case Action.DEED:
                deeds = GuestDeeds(self.ports, self.inventory, self.claims)
                await deeds.do(read, reboot_timeout_s=readable(spec).stop_timeout_s)
            case Action.MIGRATE if spec is None:
                await self._keep(read)  # no longer managed: it stays where it is
            case Action.MIGRATE:
                await self._migrate(read, readable(spec))
            case Action.ATTEND:
                how = spec.migration if spec else Migration()
                await self.watch.beside(
                    read.value, self.post_copy.attend(read.value, how, self._order(read.value, how))
                )
            case Action.HAND_OVER:
                await self._hand_over(read, spec)
            case Action.RESUME_AND_KEEP:
                await self.ports.hypervisor.resume(vm)
                await self._keep(read)
            case Action.KEEP:
                await self._keep(read)
            case Action.RELEASE:
                await self._release(read, spec)
            case Action.DEPART:
                await self._departures().depart(read)
            case Action.DEPART_UNSURE:
                await self._departures().depart_unsure(read)
            case Action.NOTE_LEAVING:
                await self._departures().note(read)
            case _:
                raise AssertionError(action)

    async def _do_without_a_claim(self, action: Action, read: Stored[Placement] | None, vm: VmName) -> bool:
        """What may be about a vm that nobody holds, or that is not managed."""
        match action:
            case Action.UNTAG:
                await self.ports.hypervisor.set_tag(vm, None)
            case Action.CLEAR:
                under = self.cleared[vm] = read.modified if read else Revision(0)
                if is_lost_half(self.inventory.reading, vm):
                    self.troubled.remember(vm, under, RunEnd.CRASHED, SPLIT)
                await self.ports.hypervisor.destroy(vm)
            case Action.ALARM_DUPLICATE | Action.NOTHING | Action.WAIT:
                pass  # an alarm is on record by now
            case Action.PAUSE_DUPLICATE:
                await self._pause_second(vm)
            case Action.MARK_SECOND:
                await self._mark_second(vm)
            case _:
                return False
        return True

    # --- starting

    async def _start(self, read: Stored[Placement], spec: VmSpec) -> None:
        """``starting`` names the vm until nothing of the start can come to life any more: no session begins before."""
        vm, saved = read.value.vm, read.value.saved
        self.starting.add(vm)
        try:
            found, trouble = await self._find_definition(spec)
            also = self.claims.nothing_holds_it(vm, self.ports.read_snapshot())
            held = await self._claim(read, "claimed", found, also=also)
            try:
                if found is None:
                    raise StartFailed(trouble)
                await self._create(held, spec, found, saved)
            except (DomainExists, StartFailed, Rejected, GateUnavailable) as error:
                await self._start_failed(held, str(error))  # unless it is here, and ours: the next look adopts it
            await self._end_what_came_too_late(held)
        finally:
            self.starting.discard(vm)

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
                await self._wait_out(held.value.vm)
                raise
            finally:
                self.ports.gate.withdraw(spec.uuid)
        finally:
            coming.close()

    async def _end_what_came_too_late(self, held: Stored[Placement]) -> None:
        """The session ended while the hypervisor was at work: another node may run it by now."""
        session = self.ports.keeper.current
        if session is None or session.over.is_set() or session.id != held.value.session:
            await self.ports.hypervisor.destroy(held.value.vm)
            raise Lost("the session ended during the start")

    async def _wait_out(self, vm: VmName) -> None:
        """A start whose answer is missing may still happen: a thawed libvirtd carries out what it had received.

        Giving the vm back now could let it run twice, so absence must be seen for a while after libvirtd answers.
        """
        absent_since: float | None = None
        while absent_since is None or self.ports.clock.now() - absent_since < UNSURE_START_S:
            await asyncio.sleep(STOP_LOOK_S)
            try:
                here = (await self.inventory.refresh()).local(vm) is not None
            except HypervisorUnavailable:
                absent_since = None
                continue
            if here:
                return
            absent_since = absent_since if absent_since is not None else self.ports.clock.now()

    async def _claim(
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

    async def _start_failed(self, held: Stored[Placement], error: str) -> None:
        """Verified by looking: only a vm that is not here may be given back."""
        if (await self.inventory.refresh()).local(held.value.vm) is not None:
            return
        failure = Failure(node=self.ports.node, at=self.ports.clock.wall(), error=error)
        new = transitions.release(held.value, RunEnd.START_FAILED, error, self.ports.clock.wall(), failure=failure)
        text = f"it did not start on {failure.node}: {error}"
        await self.claims.write(held, new, kind="start-failed", text=text, gone_here=True)

    async def _mark(self, read: Stored[Placement]) -> None:
        """The record says what the guest is called, and the guest's metadata whose it is."""
        placement, local = read.value, (await self.inventory.refresh()).local(read.value.vm)
        if local is not None and local.name != placement.guest:
            placement = transitions.call(placement, local.name)
            text = f"its guest on {self.ports.node} is called {local.name or placement.vm}"
            await self.claims.write(read, placement, kind="named", text=text)
        tag = Tag(cluster=self.ports.cluster, vm=placement.vm, epoch=placement.epoch)
        await self.ports.hypervisor.set_tag(placement.vm, tag)
        self.inventory.look_again()

    async def _resume_arrival(self, read: Stored[Placement]) -> None:
        held = await self._claim(read, "arrived")
        if not self.ports.keeper.may_start():
            raise Lost("too little time is left before the guard's deadline")
        await self.ports.hypervisor.resume(held.value.vm)
        await self._end_what_came_too_late(held)

    async def _measure(self, read: Stored[Placement], spec: VmSpec | None) -> None:
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
        self.measured[placement.vm] = placement.epoch

    # --- stopping

    async def _stop(self, placement: Placement, spec: VmSpec) -> None:
        """Asked first; by force when the guest ignores it, unless that is forbidden. Gone is what the look says.

        A QEMU that stands still answers no shutdown, ever, and gets no more time than a guest that ignores one. When it
        is libvirtd that does not answer, the look says so: nothing is ended then that was not asked.
        """
        vm = placement.vm
        if is_to_be_saved(spec, placement, self.ports.read_snapshot().requests) and await self._save(placement, spec):
            return
        until = self.ports.clock.now() + (0.0 if placement.by_force else spec.stop_timeout_s)
        began = ask_at = self.ports.clock.now()
        while (here := (await self.inventory.refresh()).local(vm)) is not None:
            if here.state is SeenState.OUTGOING or here.migrating is not placement.leaving:
                return  # a hand's migration: that goes on record first, and at its end the outcome decides
            if here.second:
                return  # its own has gone; what stood beside it hears no shutdown, and is ended
            left = until - self.ports.clock.now()
            if left <= 0:
                if self._is_removed(vm):
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
            await asyncio.sleep(min(STOP_LOOK_S, left))

    def starts_a_removed_one(self) -> bool:
        return any(map(self._is_removed, self.starting))

    async def _save(self, placement: Placement, spec: VmSpec) -> bool:
        try:
            return await self.saved_states.save(placement, spec)
        except DomainMissing:
            return True
        finally:
            self.inventory.look_again()

    def _is_removed(self, vm: VmName) -> bool:
        """Taken out of the cluster meanwhile: its guest is nobody's to end any more."""
        view = self.ports.read_snapshot().vms.get(vm)
        return view is None or view.spec is None

    async def _release(self, read: Stored[Placement], spec: VmSpec | None) -> None:
        placement = read.value
        ending = self.ports.hypervisor.find_ending(placement.vm) or Ending.UNKNOWN
        is_known = ending is not Ending.UNKNOWN or self.left_unseen.get(placement.vm) == read.modified
        if not is_known and await self._has_left_unseen(placement):
            self.left_unseen[placement.vm] = read.modified  # the next look decides what follows from it
            return
        if placement.phase is Phase.HELD and ending is Ending.UNKNOWN:
            await self._wait_out(placement.vm)  # a former process of this agent may have asked for its start
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
            elif ended is RunEnd.DESTROYED and self.cleared.get(placement.vm) == read.modified:
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

    def _departures(self) -> Departures:
        return Departures(self.ports, self.inventory, self.claims)

    async def _has_left_unseen(self, placement: Placement) -> bool:
        """It left by migration while no agent was here to see it. A note from before its claim is of an earlier run."""
        left = await self.ports.hypervisor.recall_migration(placement.vm)
        if left is None:
            return False
        return placement.phase is Phase.MIGRATING or transitions.is_its_departure(placement, left)

    async def _pause_second(self, vm: VmName) -> None:
        """Marked first: an agent that dies in between leaves a copy that runs on, and is found again.

        Not at once if it came by migration: it may be the rightful one, and what its source shows of the past.
        """
        view = (await self.inventory.refresh()).domains.get(vm)
        if view is not None and view.reason == "booted":
            await self._mark_second(vm)
        await self.ports.hypervisor.suspend(vm)

    async def _mark_second(self, vm: VmName) -> None:
        here = (await self.inventory.refresh()).local(vm)
        epoch = here.epoch if here and here.epoch is not None else Epoch(0)
        await self.ports.hypervisor.set_tag(vm, Tag(cluster=self.ports.cluster, vm=vm, epoch=epoch, second=True))

    # --- migrating

    async def _migrate(self, read: Stored[Placement], spec: VmSpec) -> None:
        """Peer to peer between the two libvirtds: it goes on even if this process dies."""
        placement = read.value
        order = self._order(placement, spec.migration)
        try:
            if runs_at_once(placement, spec) and placement.target:
                alive = see_alive(self.ports, placement.vm, placement.target)
                await self.watch.before(placement, alive)
            with part("hypervisor"):
                await self.watch.beside(placement, self.post_copy.send(placement, spec.migration, order))
        except (MigrationFailed, HypervisorUnavailable, DomainMissing) as error:
            self.migrations_tried[placement.vm] = (try_of(placement), str(error))
            log.warning("migration failed", vm=placement.vm, target=placement.target, why=str(error))
            return
        self.migrated[placement.vm] = try_of(placement)
        if order.post_copy:  # its switch was put on record meanwhile, and perhaps more
            await took.hear(self.ports.hypervisor, placement.vm)
            read = await self.claims.read(placement.vm) or read
            if read.value.phase is not Phase.MIGRATING or try_of(read.value) != try_of(placement):
                raise Lost("it is another's by now")
        await self._hand_over(read, spec)

    def _order(self, placement: Placement, how: Migration) -> MigrationOrder:
        target = self.ports.read_snapshot().nodes.get(placement.target) if placement.target else None
        return migration_order(placement, how, target, cluster=self.ports.cluster, migration_uri=self.migration_uri)

    async def _hand_over(self, read: Stored[Placement], spec: VmSpec | None) -> None:
        placement = read.value
        assert placement.target
        text = f"handed over from {self.ports.node} to {placement.target}"
        if not runs_at_once(placement, spec):
            new = transitions.hand_over(placement, self.ports.clock.wall())
            await self.claims.write(read, new, kind="handed-over", text=text, gone_here=True)
            return
        target = self.ports.read_snapshot().nodes.get(placement.target)
        if target is None or target.beat is None:
            raise Lost(f"{placement.target} has no session to hand it over to")
        moved = None
        if placement.switched and self.migrated.get(placement.vm) == try_of(placement):
            moved = took.find_moved(self.ports.hypervisor, placement.vm, self.ports.node)
        session = target.beat.value.session
        new = transitions.hand_over(placement, self.ports.clock.wall(), already_running_in=session, moved=moved)
        living = (placement.target, target.beat.created)
        await self.claims.write(read, new, kind="handed-over", text=text, gone_here=True, also_living=living)
        if placement.switched:
            await self.claims.tell("migrated", took.in_words(moved, self.ports.node), placement.vm)

    async def _keep(self, read: Stored[Placement]) -> None:
        """Only when nothing can move it any more: a migration that went on would end with the guest cleared away at
        its target, and nowhere else.
        """
        vm = read.value.vm
        await self.ports.hypervisor.abort_migration(vm)
        here = (await self.inventory.refresh()).local(vm)
        if here is None or here.migrating or here.state is SeenState.OUTGOING:
            raise Lost("it is still on its way, or stands as the migration left it")
        _, why = self.migrations_tried.get(vm, (None, "the migration did not happen"))
        if read.value.cancel is not None:
            why = f"cancelled by {read.value.cancel_by}"
        new = transitions.keep(read.value, why, self.ports.clock.wall())
        did = "was called off" if read.value.cancel is not None else "failed"
        text = f"the migration to {read.value.target} {did}, it stays on {self.ports.node}: {why}"
        await self.claims.write(read, new, kind="migration-failed", text=text)
