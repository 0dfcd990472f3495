"""Moves a vm's guest to another node, hands the vm over, or keeps it when that came to nothing."""

from dataclasses import dataclass

import structlog

from vmha.agent import took
from vmha.agent.alive import see_alive
from vmha.agent.claims import Claims, Lost
from vmha.agent.inventory import Inventory
from vmha.agent.memory import Memory, try_of
from vmha.agent.migration_watch import MigrationWatch
from vmha.agent.orders import migration_order
from vmha.agent.ports import AgentPorts
from vmha.agent.post_copy import PostCopy
from vmha.hypervisor.port import DomainMissing, HypervisorUnavailable, MigrationFailed, MigrationOrder
from vmha.model.records import Phase, Placement, SeenState, Stored
from vmha.model.vm import Migration, VmSpec
from vmha.policy.deciding.post_copy import runs_at_once
from vmha.policy.state import transitions
from vmha.tracing.operation import part

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Migrating:
    ports: AgentPorts
    inventory: Inventory
    claims: Claims
    memory: Memory
    migration_uri: str
    watch: MigrationWatch
    post_copy: PostCopy

    async def attend(self, read: Stored[Placement], spec: VmSpec | None) -> None:
        """To one that an agent before this one began."""
        how = spec.migration if spec else Migration()
        await self.watch.beside(read.value, self.post_copy.attend(read.value, how, self._order(read.value, how)))

    async def migrate(self, read: Stored[Placement], spec: VmSpec) -> None:
        """Peer to peer between the two libvirtds: it goes on even if this process dies."""
        placement = read.value
        order = self._order(placement, spec.migration)
        await self._let_go_what_is_aside(placement)
        try:
            if runs_at_once(placement, spec) and placement.target:
                alive = see_alive(self.ports, placement.vm, placement.target)
                await self.watch.before(placement, alive)
            with part("hypervisor"):
                await self.watch.beside(placement, self.post_copy.send(placement, spec.migration, order))
        except (MigrationFailed, HypervisorUnavailable, DomainMissing) as error:
            self.memory.migrations_tried[placement.vm] = (try_of(placement), str(error))
            log.warning("migration failed", vm=placement.vm, target=placement.target, why=str(error))
            return
        self.memory.migrated[placement.vm] = try_of(placement)
        if order.post_copy:  # its switch was put on record meanwhile, and perhaps more
            await took.hear(self.ports.hypervisor, placement.vm)
            read = await self.claims.read(placement.vm) or read
            if read.value.phase is not Phase.MIGRATING or try_of(read.value) != try_of(placement):
                raise Lost("it is another's by now")
        await self.hand_over(read, spec)

    async def _let_go_what_is_aside(self, placement: Placement) -> None:
        """As a user's pause it would stand at its target for ever (policy/at_node/paused.py)."""
        here = (await self.inventory.refresh()).local(placement.vm)
        if placement.came_by_hand and here is not None and here.aside and here.state is SeenState.PAUSED:
            await self.ports.hypervisor.resume(placement.vm)

    def _order(self, placement: Placement, how: Migration) -> MigrationOrder:
        target = self.ports.read_snapshot().nodes.get(placement.target) if placement.target else None
        return migration_order(placement, how, target, cluster=self.ports.cluster, migration_uri=self.migration_uri)

    async def hand_over(self, read: Stored[Placement], spec: VmSpec | None) -> None:
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
        if placement.switched and self.memory.migrated.get(placement.vm) == try_of(placement):
            moved = took.find_moved(self.ports.hypervisor, placement.vm, self.ports.node)
        session = target.beat.value.session
        new = transitions.hand_over(placement, self.ports.clock.wall(), already_running_in=session, moved=moved)
        living = (placement.target, target.beat.created)
        await self.claims.write(read, new, kind="handed-over", text=text, gone_here=True, also_living=living)
        if placement.switched:
            await self.claims.tell("migrated", took.in_words(moved, self.ports.node), placement.vm)

    async def keep(self, read: Stored[Placement]) -> None:
        """Only when nothing can move it any more: a migration that went on would end with the guest cleared away at
        its target, and nowhere else.
        """
        vm = read.value.vm
        await self.ports.hypervisor.abort_migration(vm)
        here = (await self.inventory.refresh()).local(vm)
        if here is None or here.migrating or here.state is SeenState.OUTGOING:
            raise Lost("it is still on its way, or stands as the migration left it")
        _, why = self.memory.migrations_tried.get(vm, (None, "the migration did not happen"))
        if read.value.cancel is not None:
            why = f"cancelled by {read.value.cancel_by}"
        new = transitions.keep(read.value, why, self.ports.clock.wall())
        did = "was called off" if read.value.cancel is not None else "failed"
        text = f"the migration to {read.value.target} {did}, it stays on {self.ports.node}: {why}"
        await self.claims.write(read, new, kind="migration-failed", text=text)
