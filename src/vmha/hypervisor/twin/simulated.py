"""The hypervisor port on one host of a simulated world; the twin of ``libvirt_adapter`` and held to the same contract.

It answers at once where libvirt does, takes the fabric's time where QEMU does, and tells endings apart by the same
events through the same ``Endings``. An adapter that is closed, or whose libvirtd stopped, sees nothing meanwhile.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from vmha.hypervisor.answers import fail, promise, succeed
from vmha.hypervisor.lifecycle import Endings, Lifecycle, Stopped
from vmha.hypervisor.port import (
    DomainEvent,
    DomainExists,
    DomainMissing,
    DomainState,
    DomainView,
    Ending,
    HostCapacity,
    HostDefinition,
    HostTraits,
    HypervisorUnavailable,
    MigrationFailed,
    MigrationOrder,
    SaveFailed,
    StartFailed,
    Tag,
)
from vmha.hypervisor.remedies import with_remedy
from vmha.hypervisor.saved_file import retagged
from vmha.hypervisor.states import Mark
from vmha.hypervisor.twin import fabric_agent, fabric_boots
from vmha.hypervisor.twin import fabric_migration as course
from vmha.hypervisor.twin import fabric_saving as saves
from vmha.hypervisor.twin.fabric import SimulatedFabric
from vmha.hypervisor.twin.fabric_frozen import is_silent, waits_for
from vmha.hypervisor.twin.fabric_state import Guest, has_switched, tag_in
from vmha.hypervisor.twin.simulated_files import SavedMemory
from vmha.hypervisor.twin.simulated_ways import SimulatedWays, why_memory_would_not_pass
from vmha.model import domain_xml
from vmha.model.digest import digest
from vmha.model.errors import Refused, Rejected
from vmha.model.migration import Arrival, MigrationProgress
from vmha.model.transport import transport_of

T = TypeVar("T")

ANSWER_TIMEOUT_S = 5.0
ABORT_TIMEOUT_S = 10.0
GUEST_MEMORY_BYTES = 1 << 30  # what a migration says it has to send


class SimulatedHypervisor:
    """One host's libvirtd, simulated."""

    def __init__(self, fabric: SimulatedFabric, host: str) -> None:
        self._fabric = fabric
        self._host = fabric.host(host)
        self._endings = Endings()
        self._listeners: list[Callable[[DomainEvent], None]] = []
        self._boots_again: Counter[str] = Counter()
        self._is_open = False
        self.ways = SimulatedWays(fabric, self._host, self._answer)
        self._lost: asyncio.Future[None]  # done when the connection has closed; made by open

    async def open(self) -> None:
        if not self._host.has_libvirtd or not self._host.has_power:
            raise HypervisorUnavailable(f"cannot open {self._host.name}: connection refused")
        self._host.listeners.append(self._on_lifecycle)
        self._host.on_connection.append(self._on_connection)
        self._host.on_reboot.append(self._on_reboot)
        self._host.on_migration.append(self._on_migration)
        self._host.on_silence.append(self._on_silence)
        self._host.on_departure.append(self._endings.note_departure)
        self._is_open = True
        self._lost = asyncio.get_running_loop().create_future()
        self._resync()

    async def close(self) -> None:
        self.sever()

    def sever(self) -> None:
        """Its process is gone: nothing that is left of it can ask for anything any more."""
        self._is_open = False
        self._listeners.clear()
        with contextlib.suppress(ValueError):
            self._host.listeners.remove(self._on_lifecycle)
        with contextlib.suppress(ValueError):
            self._host.on_connection.remove(self._on_connection)
        with contextlib.suppress(ValueError):
            self._host.on_reboot.remove(self._on_reboot)
        with contextlib.suppress(ValueError):
            self._host.on_migration.remove(self._on_migration)
        with contextlib.suppress(ValueError):
            self._host.on_silence.remove(self._on_silence)
        with contextlib.suppress(ValueError):
            self._host.on_departure.remove(self._endings.note_departure)

    def subscribe(self, listener: Callable[[DomainEvent], None]) -> None:
        self._listeners.append(listener)

    def find_ending(self, name: str) -> Ending | None:
        return self._endings.find(name)

    def find_departure(self, name: str) -> Arrival | None:
        return self._endings.find_departure(name)

    async def recall_migration(self, name: str) -> str | None:
        how, mark = self._host.log.get(name, ("", ""))
        return mark if how == "migrated" and name not in self._host.guests else None

    async def inventory(self) -> tuple[DomainView, ...]:
        await self._answer()
        guests = self._host.guests
        off = [
            DomainView(name=one.name, uuid=one.uuid, state=DomainState.SHUTOFF, persistent=True)
            for one in self._definitions()
            if one.name not in guests
        ]
        return (*(self._view(guests[name]) for name in sorted(guests)), *off)

    async def capacity(self) -> HostCapacity:
        await self._answer()
        return HostCapacity(
            memory_mib=self._host.memory_mib, vcpus=self._host.vcpus, hypervisor="simulated QEMU, simulated libvirt"
        )

    async def traits(self) -> HostTraits:
        await self._answer()
        return self._host.traits

    async def compare_cpu(self, cpu: str) -> bool:
        await self._answer()
        return cpu == self._host.traits.cpu

    async def start(self, xml: str, *, timeout_s: float = 60.0) -> None:
        await self._answer()
        try:
            facts = domain_xml.parse_domain(xml)
        except Rejected as error:
            raise StartFailed(str(error)) from error
        self._require_free(f"start {facts.name}", facts.name, facts.uuid)
        try:
            await self._wait(self._fabric.begin_start(self._host, xml, tag_in(xml)), timeout_s, f"start {facts.name}")
        except HypervisorUnavailable:
            self._fabric.call_off_start(self._host, facts.name)
            raise

    def _require_free(self, what: str, name: str, uuid: str | None) -> None:
        """Of a persistent definition only another identity is in the way: libvirt starts the same one over it."""
        for guest in self._host.guests.values():
            if guest.name == name or (uuid is not None and guest.uuid == uuid):
                raise DomainExists(f"{what}: domain '{guest.name}' already exists with uuid {guest.uuid}")
        for defined in self._definitions():
            if (defined.name == name) != (defined.uuid == uuid):
                raise DomainExists(f"{what}: domain '{defined.name}' is already defined with uuid {defined.uuid}")

    def _definitions(self) -> tuple[HostDefinition, ...]:
        found = []
        for name, defined in sorted(self._host.definitions.items()):
            facts = domain_xml.parse_domain(defined.xml)
            found.append(
                HostDefinition(
                    name=name,
                    uuid=facts.uuid or domain_xml.default_uuid("", name),
                    definition=digest(defined.xml),
                    autostart=defined.autostart,
                    managed_save=defined.managed_save,
                )
            )
        return tuple(found)

    async def find_definition(self, name: str) -> str | None:
        await self._answer()
        defined = self._host.definitions.get(name)
        return defined.xml if defined else None

    async def definitions(self) -> tuple[HostDefinition, ...]:
        await self._answer()
        return self._definitions()

    async def save(self, name: str, path: str, *, timeout_s: float) -> None:
        guest = await self._find(name)
        saving = saves.begin_save(self._fabric, guest, path)
        try:
            await self._wait(saving, timeout_s, f"save {name}")
        except HypervisorUnavailable as error:
            saving.cancel()
            self._require_power()
            if self._host.is_frozen or self._host.is_libvirtd_frozen or not self._fabric.is_alive(guest):
                raise
            saves.call_off(self._fabric, guest, path)
            raise SaveFailed(f"save {name}: it took longer than {timeout_s:g} s and was called off") from error

    async def restore(self, path: str, *, name: str, uuid: str, saved: Tag, tag: Tag, timeout_s: float) -> None:
        await self._answer()
        what = f"restore {name} from {path}"
        held = self._fabric.files.held.get(path)
        if not isinstance(held, SavedMemory):
            raise StartFailed(f"{what}: it is no saved state")
        xml = retagged(held.xml, path, name=name, uuid=uuid, saved=saved, tag=tag)
        self._require_free(what, name, uuid)
        try:
            await self._wait(saves.begin_restore(self._fabric, self._host, path, xml, tag), timeout_s, what)
        except HypervisorUnavailable:
            self._fabric.call_off_start(self._host, name)
            raise

    async def resume(self, name: str) -> None:
        guest = await self._find(name)
        if guest.mark is Mark.SECOND:
            raise Refused(f"{name} is a second copy: it must not go on")
        await self._ask_qemu(guest, self._fabric.resume)

    async def suspend(self, name: str) -> None:
        await self._ask_qemu(await self._find(name), self._fabric.suspend)

    async def shutdown(self, name: str, *, by_agent: bool = False) -> None:
        guest = await self._find(name)
        if by_agent:
            await fabric_agent.shut_down(self._fabric, guest)
        else:
            self._fabric.ask_shutdown(guest)

    async def reboot(self, name: str) -> None:
        fabric_boots.ask_reboot(self._fabric, await self._find(name))

    async def reset(self, name: str) -> None:
        fabric_boots.reset(self._fabric, await self._find(name))

    def boots_again(self, name: str) -> int:
        return self._boots_again[name]

    async def destroy(self, name: str, *, timeout_s: float = 30.0) -> None:
        try:
            guest = await self._find(name)
        except DomainMissing:
            return
        await self._wait(self._fabric.begin_destroy(guest), timeout_s, f"destroy {name}")

    async def migrate(self, order: MigrationOrder) -> None:
        guest = await self._find(order.name)
        target = self._fabric.find_host(order.target_uri)
        what = f"migrate {order.name} to {order.target_uri}"
        if target is None:
            raise MigrationFailed(f"{what}: {with_remedy('unable to resolve address', order.target_uri)}")
        if transport_of(order.target_uri) not in target.transports:
            raise MigrationFailed(f"{what}: {with_remedy('Connection refused', order.target_uri)}")
        if not order.tunnelled and (why := why_memory_would_not_pass(self._host, target, order.encrypts_memory)):
            raise MigrationFailed(f"{what}: {with_remedy(why, order.target_uri)}")
        migration = self._fabric.begin_migration(
            guest,
            target,
            tag=order.tag,
            is_live=order.live,
            is_paused_at_target=order.paused_at_target,
            mark=_mark(guest, order),
            may_post_copy=order.post_copy,
            takes_up=order.takes_up,
        )
        try:
            await self._wait(migration.outcome, order.timeout_s, what)
        except HypervisorUnavailable as error:
            self._require_power()
            self._fabric.abort_migration(migration)
            overdue = f"{what}: took longer than {order.timeout_s:g} s and was aborted"
            try:
                await self._wait(migration.outcome, ABORT_TIMEOUT_S, what)  # too late to be aborted, it has arrived
            except (HypervisorUnavailable, MigrationFailed):
                raise MigrationFailed(overdue) from error

    async def start_post_copy(self, name: str) -> None:
        guest = await self._find(name)
        if guest.migration is None or guest.migration.source is not guest:
            raise MigrationFailed(f"{name} is not being migrated")
        under_way = course.Course(self._fabric, guest.migration)
        left_s = guest.migration.duration_s / 2
        await self._ask_qemu(guest, lambda _: under_way.start_post_copy(left_s))

    async def migration_progress(self, name: str) -> MigrationProgress | None:
        await self._answer()
        guest = self._host.guests.get(name)
        migration = (guest.migration or guest.halved) if guest is not None else None
        if guest is None or migration is None or migration.source is not guest:
            return None
        elapsed_s = self._fabric.clock.now() - migration.began
        share = min(1.0, elapsed_s / migration.duration_s) if migration.duration_s else 1.0
        if has_switched(guest):
            share = 1 - min(1.0, migration.left_s / migration.duration_s)
        return MigrationProgress(
            elapsed_s=elapsed_s,
            remaining_bytes=int(GUEST_MEMORY_BYTES * (1 - share)),
            total_bytes=GUEST_MEMORY_BYTES,
            expected_downtime_ms=round((self._fabric.timing.switch_s + self._fabric.timing.reply_s) * 1000),
            iteration=migration.passes,
            dirty_bytes_per_s=0,
        )

    async def read_arrival(self, name: str) -> Arrival | None:
        await self._answer()
        guest = self._host.guests.get(name)
        return guest.arrival if guest is not None else None

    async def abort_migration(self, name: str) -> None:
        guest = await self._find(name)
        if guest.migration is not None and guest.migration.source is guest:
            self._fabric.abort_migration(guest.migration)

    async def ping_agent(self, name: str, *, timeout_s: float) -> None:
        await fabric_agent.ask(await self._find(name), f"ping the guest agent of {name}", timeout_s=timeout_s)

    async def set_tag(self, name: str, tag: Tag | None) -> None:
        guest = await self._find(name)
        if tag is None:
            guest.mark = Mark.NONE  # it is part of the tag
        elif tag.second:
            guest.mark = Mark.SECOND
        elif tag.aside:
            guest.mark = Mark.ASIDE
        if tag is None or guest.tag is None or tag.epoch != guest.tag.epoch:
            guest.sent_by_hand_over = ()
        guest.tag = None if tag is None else replace(tag, second=False, aside=False)
        self._tell(name, "retagged")

    # ---------------------------------------------------------------- inside

    async def _find(self, name: str) -> Guest:
        await self._answer()
        guest = self._host.guests.get(name)
        if guest is None:
            raise DomainMissing(f"no domain with matching name '{name}'")
        return guest

    async def _answer(self) -> None:
        """Wait as long as the host is frozen, up to the deadline of any call."""
        self._require_power()
        if self._host.is_frozen or self._host.is_libvirtd_frozen:
            thawed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._host.waiting.append(lambda: None if thawed.done() else thawed.set_result(None))
            await self._wait(thawed, ANSWER_TIMEOUT_S, "any call")
            self._require_power()

    async def _ask_qemu(self, guest: Guest, ask: Callable[[Guest], None]) -> None:
        """A QEMU that stands still does what it was asked when it goes on, and until then the call hangs."""
        done: asyncio.Future[None] = promise(asyncio.get_running_loop())

        def do() -> None:
            try:
                ask(guest)
            except (Refused, MigrationFailed) as error:
                fail(done, error)
            else:
                succeed(done, None)

        if not waits_for(guest, do):
            ask(guest)
            return
        await self._wait(done, ANSWER_TIMEOUT_S, f"the monitor of {guest.name}")

    def _require_power(self) -> None:
        if not (self._is_open and self._host.has_power and self._host.has_libvirtd):
            raise HypervisorUnavailable(f"no connection to {self._host.name}")

    async def _wait(self, future: "asyncio.Future[T]", timeout_s: float, what: str) -> T:
        """What the host does goes on when the waiting ends early."""
        lost = self._lost
        waited: list[asyncio.Future[T] | asyncio.Future[None]] = [future, lost]
        await asyncio.wait(waited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        if lost.done():
            raise HypervisorUnavailable(f"{what}: the connection to {self._host.name} closed")
        raise HypervisorUnavailable(f"libvirtd did not answer within {timeout_s:g} s: {what}")

    def _view(self, guest: Guest) -> DomainView:
        return DomainView(
            name=guest.name,
            uuid=guest.uuid,
            state=guest.state,
            reason=guest.reason,
            tag=_tag(guest),
            persistent=guest.name in self._host.definitions,
            migrating=guest.migration is not None
            and guest.migration.source is guest
            and guest.reason != "postcopy_failed",
            silent=is_silent(self._fabric, guest),
        )

    def _on_lifecycle(self, name: str, event: int, detail: int) -> None:
        ending = self._endings.note(name, event, detail)
        kind = Lifecycle(event).word
        if event == Lifecycle.STOPPED:
            kind = f"{kind} {Stopped(detail).name.lower()}"
        self._tell(name, kind, ending)

    def _on_reboot(self, name: str) -> None:
        self._boots_again[name] += 1
        self._tell(name, "rebooted")

    def _on_silence(self, name: str) -> None:
        self._tell(name, "silence")

    def _on_migration(self, name: str) -> None:
        self._tell(name, "migrating")

    def _on_connection(self, is_up: bool) -> None:
        if is_up:
            self._lost = asyncio.get_running_loop().create_future()
            self._resync()
        else:
            if not self._lost.done():
                self._lost.set_result(None)
            self._tell("", "disconnected: error")

    def _resync(self) -> None:
        guests = self._host.guests.values()
        self._endings.begin_resync()
        self._endings.resync(
            present=[guest.name for guest in guests],
            incoming=[guest.name for guest in guests if guest.state is DomainState.INCOMING],
            switched=[guest.name for guest in guests if has_switched(guest)],
            panicked=[guest.name for guest in guests if guest.state is DomainState.CRASHED],
        )
        self._tell("", "connected")

    def _tell(self, name: str, kind: str, ending: Ending | None = None) -> None:
        event = DomainEvent(name=name, kind=kind, ending=ending)
        for listener in tuple(self._listeners):
            asyncio.get_running_loop().call_soon(listener, event)


def _tag(guest: Guest) -> Tag | None:
    if guest.tag is None:
        return None
    return replace(guest.tag, second=guest.mark is Mark.SECOND, aside=guest.mark is Mark.ASIDE)


def _mark(guest: Guest, order: MigrationOrder) -> Mark:
    if not order.paused_at_target:
        return Mark.NONE
    if guest.state is DomainState.ARRIVED:
        raise Refused(f"{guest.name} stands here for its own hand-over: it has to be let go first")
    return Mark.PAUSED if guest.state is DomainState.PAUSED else Mark.STANDING


__all__ = ["SimulatedFabric", "SimulatedHypervisor"]
