"""All hosts' guests in one simulated world, on the event loop's time: deterministic, and true to libvirt's habits.

An operation once asked for is carried out by its host, whether or not the agent that asked lives to see it. What
becomes of a guest then, and who is told, is in ``fabric_hosts``; here is what can be asked for, and what can go wrong.

Hands that reach past vmha are methods as well: an operator's virsh, a guard's SIGKILL, a guest's own power button.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from vmha.hypervisor.answers import fail, promise, succeed
from vmha.hypervisor.lifecycle import Lifecycle, Shutdown, Started, Stopped, Suspended
from vmha.hypervisor.port import DomainState, StartFailed, Tag
from vmha.hypervisor.states import Mark
from vmha.hypervisor.twin import fabric_migration as course
from vmha.hypervisor.twin import fabric_pauses as pauses
from vmha.hypervisor.twin import fabric_saving as saves
from vmha.hypervisor.twin.fabric_hosts import SimulatedHosts
from vmha.hypervisor.twin.fabric_state import Deed, Guest, Host, Memory, Migration, Timing, has_switched, tag_in
from vmha.model import domain_xml
from vmha.model.clock import Clock
from vmha.model.errors import Refused

T = TypeVar("T")

_STANDING = (DomainState.PAUSED, DomainState.ARRIVED, DomainState.OUTGOING)
RESUMED_UNPAUSED = 0  # libvirt's VIR_DOMAIN_EVENT_RESUMED_UNPAUSED


class SimulatedFabric(SimulatedHosts):
    """The world. What of it is a migration, a saved memory or a pause has a module of its own."""

    def __init__(
        self,
        clock: Clock,
        *,
        timing: Timing | None = None,
        reachable: Callable[[str, str], bool] = lambda source, target: True,
    ) -> None:
        super().__init__(clock, timing=timing or Timing(), reachable=reachable)
        self._start_faults: dict[tuple[str, str], tuple[int, str]] = {}
        self._not_resumed: set[tuple[str, str]] = set()
        self._migration_faults: dict[str, tuple[int, str]] = {}
        self._migration_s: dict[str, float] = {}
        self._ignores_acpi: set[str] = set()
        self._boots_slowly: dict[str, tuple[float, str]] = {}
        self._with_agent: set[str] = set()

    def begins_to_run(self, guest: Guest) -> None:
        saves.note_run(self, guest)
        pauses.note_run(self, guest)

    def has_ended(self, guest: Guest) -> None:
        if guest.migration is not None:
            course.Course(self, guest.migration).end_died(guest)

    # ---------------------------------------------------------------- hosts

    def power_off(self, host: str) -> None:
        """Every guest here ends at once; migrations in and out break."""
        machine = self.host(host)
        machine.has_power = machine.is_frozen = machine.is_libvirtd_frozen = False
        machine.waiting.clear()
        for listener in tuple(machine.on_connection):
            listener(False)
        machine.listeners.clear()
        machine.on_connection.clear()
        for guest in list(machine.guests.values()):
            self.remove(guest, Stopped.FAILED)

    def power_on(self, host: str) -> None:
        machine = self.host(host)
        machine.has_power = machine.has_libvirtd = True

    def freeze(self, host: str) -> None:
        """The whole machine stands still, guests included, and goes on where it was at ``thaw``."""
        machine = self.host(host)
        machine.is_frozen = True
        for guest in machine.guests.values():
            if guest.state is DomainState.RUNNING:
                self.record(guest, Deed.STANDS)
        self._fall_silent(machine)

    def thaw(self, host: str) -> None:
        machine = self.host(host)
        machine.is_frozen = False
        for guest in machine.guests.values():
            if guest.state is DomainState.RUNNING:
                self.record(guest, Deed.RUNS)
        self._go_on(machine)

    def stop_libvirtd(self, host: str) -> None:
        """Guests live on; nobody can look at them, and their events are lost."""
        machine = self.host(host)
        machine.has_libvirtd = False
        for listener in tuple(machine.on_connection):
            listener(False)
        machine.is_libvirtd_frozen = False
        for migration in _migrations_of(machine):
            course.libvirtd_stopped(self, migration, machine)

    def start_libvirtd(self, host: str) -> None:
        machine = self.host(host)
        machine.has_libvirtd = True
        for guest in list(machine.guests.values()):
            if guest.ends_with_libvirtd:
                self.remove(guest, Stopped.FAILED)
            elif guest.runs_with_libvirtd:
                guest.runs_with_libvirtd = False
                self.run(guest, "migration_canceled")
        for listener in tuple(machine.on_connection):
            listener(True)

    def freeze_libvirtd(self, host: str) -> None:
        """SIGSTOP: connections stay open and say nothing. Guests go on."""
        machine = self.host(host)
        if machine.has_libvirtd:
            machine.is_libvirtd_frozen = True
            self._fall_silent(machine)

    def thaw_libvirtd(self, host: str) -> None:
        machine = self.host(host)
        machine.is_libvirtd_frozen = False
        self._go_on(machine)

    # ---------------------------------------------------------------- faults

    def fail_start(self, name: str, *, host: str, times: int = 1, message: str = "could not open its disk") -> None:
        self._start_faults[name, host] = (times, message)

    def refuse_to_resume(self, name: str, *, host: str, refuses: bool = True) -> None:
        """Its disk can not be opened for writing there."""
        (self._not_resumed.add if refuses else self._not_resumed.discard)((name, host))

    def fail_migration(self, name: str, *, times: int = 1, message: str = "operation failed: migration") -> None:
        """Half-way through; the guest runs on at its source."""
        self._migration_faults[name] = (times, message)

    def lose_migration_reply(self, name: str) -> None:
        """At the end of its next migration the target is complete, and the source, not told, runs on."""
        self.lost_replies.add(name)

    def set_migration_time(self, name: str, seconds: float) -> None:
        self._migration_s[name] = seconds

    def ignore_acpi(self, name: str) -> None:
        """The guest does not react to a shutdown, in this run and the next."""
        self._ignores_acpi.add(name)
        for guest in self.instances_of(name):
            guest.memory.obeys_acpi = False

    def crash(self, name: str, *, host: str | None = None) -> None:
        """SIGKILL to its QEMU, on ``host`` or wherever it is."""
        for guest in self.instances_of(name, host):
            self.remove(guest, Stopped.FAILED)

    def hang(self, name: str, is_so: bool = True) -> None:
        """Nothing inside answers any more; a new boot does."""
        for guest in self.instances_of(name):
            guest.memory.is_hung = is_so

    def hang_at_boot(self, name: str, *, for_s: float, host: str = "") -> None:
        """Each boot (on ``host``) answers only after so long; 0: as ever."""
        self._boots_slowly[name] = (for_s, host)

    def has_agent(self, name: str) -> None:
        """Every boot of it from now on, and this one, runs a guest agent."""
        self._with_agent.add(name)
        for guest in self.instances_of(name):
            guest.memory.has_agent = True

    def is_well(self, name: str, host: str) -> bool:
        """It runs there, and answers."""
        guest = self.host(host).guests.get(name)
        return guest is not None and guest.state is DomainState.RUNNING and not guest.memory.is_hung

    def panic(self, name: str) -> None:
        """Its kernel gives up; its QEMU is kept, as by on_crash=preserve."""
        for guest in self.instances_of(name):
            if guest.state is DomainState.RUNNING:
                self.stand(guest, DomainState.CRASHED, "panicked")
                self.emit(guest, Lifecycle.CRASHED, 0)

    def power_off_guest(self, name: str) -> None:
        """The guest shuts itself down."""
        for guest in self.instances_of(name):
            if guest.state is DomainState.RUNNING:
                self.remove(guest, Stopped.SHUTDOWN, Shutdown.GUEST)

    def kill_managed(self, host: str) -> tuple[Guest, ...]:
        """What a guard does: SIGKILL to every guest with a tag, without libvirt. Returns those it ended."""
        victims = [guest for guest in self.host(host).guests.values() if guest.tag is not None]
        for guest in victims:
            self.remove(guest, Stopped.FAILED)
        return tuple(victims)

    # ---------------------------------------------------------------- an operator's virsh

    def virsh_start(self, xml: str, host: str) -> None:
        self.begin_start(self.host(host), xml)

    def virsh_destroy(self, name: str, host: str | None = None) -> None:
        for guest in self.instances_of(name, host):
            self.remove(guest, Stopped.DESTROYED, Shutdown.HOST)

    def virsh_suspend(self, name: str, host: str | None = None) -> None:
        for guest in self.instances_of(name, host):
            self.suspend(guest)

    def virsh_resume(self, name: str, host: str | None = None) -> None:
        for guest in self.instances_of(name, host):
            self.resume(guest)

    def virsh_migrate(self, name: str, source: str, target: str, *, post_copy: bool = False) -> None:
        """As by hand: no tag changed, the guest resumes by itself. A target never heard of is outside the cluster."""
        guest = self.host(source).guests[name]
        mark = Mark.SECOND if guest.mark is Mark.SECOND else Mark.NONE  # it goes with the tag
        begun = self.begin_migration(
            guest, self.host(target), tag=guest.tag, is_live=True, is_paused_at_target=False, mark=mark
        )
        begun.switches_half_way = post_copy
        if begun.target is not None:
            begun.target.sent_by_hand_over = (*guest.sent_by_hand_over, source)

    def kill_virsh(self, name: str) -> None:
        """A hand's migration whose client ends (see ``fabric_migration``)."""
        for guest in self.instances_of(name):
            if guest.migration is not None and guest.migration.source is guest:
                course.Course(self, guest.migration).abandon()

    # ---------------------------------------------------------------- what hosts do

    def begin_start(self, host: Host, xml: str, tag: Tag | None = None) -> "asyncio.Future[Guest]":
        """Take the name; the guest runs after ``start_s``. The caller has checked that name and uuid are free."""
        facts = domain_xml.parse_domain(xml)
        guest = Guest(
            name=facts.name,
            uuid=facts.uuid or domain_xml.default_uuid("", facts.name),
            xml=xml,
            host=host,
            state=DomainState.PAUSED,
            reason="starting_up",
            tag=tag or tag_in(xml),
            memory=Memory(obeys_acpi=facts.name not in self._ignores_acpi, has_agent=facts.name in self._with_agent),
            is_starting=True,
        )
        done: asyncio.Future[Guest] = promise(asyncio.get_running_loop())
        times, message = self._start_faults.get((guest.name, host.name), (0, ""))
        if times > 0:
            self._start_faults[guest.name, host.name] = (times - 1, message)
            self.later(host, self.timing.refusal_s, lambda: fail(done, StartFailed(f"start {guest.name}: {message}")))
            return done
        host.guests[guest.name] = guest
        host.log.pop(guest.name, None)

        def finish() -> None:
            if not self.is_alive(guest):
                fail(done, StartFailed(f"start {guest.name}: its QEMU ended at once"))
                return
            guest.is_starting = False
            self.run(guest, "booted")
            for_s, where = self._boots_slowly.get(guest.name, (0.0, ""))
            if for_s and where in ("", host.name):
                self._hang_for(guest.memory, for_s)
            self.emit(guest, Lifecycle.RESUMED, RESUMED_UNPAUSED)
            self.emit(guest, Lifecycle.STARTED, Started.BOOTED)
            succeed(done, guest)

        self.later(host, self.timing.start_s, finish)
        return done

    def _hang_for(self, memory: Memory, for_s: float) -> None:
        memory.is_hung = True
        asyncio.get_running_loop().call_later(for_s, setattr, memory, "is_hung", False, context=self.context)

    def begin_migration(
        self,
        guest: Guest,
        target: Host,
        *,
        tag: Tag | None,
        is_live: bool,
        is_paused_at_target: bool,
        mark: Mark = Mark.NONE,
        **post_copy: bool,
    ) -> Migration:
        """Send ``guest`` on its way (see ``fabric_migration``)."""
        duration_s = self._migration_s.get(guest.name, self.timing.migration_s)
        times, message = self._migration_faults.get(guest.name, (0, ""))
        if times > 0:
            self._migration_faults[guest.name] = (times - 1, message)
        return course.begin(
            self,
            guest,
            target,
            tag=tag,
            is_live=is_live,
            is_paused_at_target=is_paused_at_target,
            mark=mark,
            duration_s=duration_s,
            fault=(duration_s / 2, message) if times > 0 else None,
            **post_copy,
        )

    def break_migration(self, migration: Migration, message: str) -> None:
        """The guest goes on at its source; the half that arrived goes."""
        course.Course(self, migration).break_off(message)

    def abort_migration(self, migration: Migration) -> None:
        """As libvirt's abortJob; where all memory is sent there is nothing to abort any more, and that is no error."""
        course.Course(self, migration).abort()

    def call_off_start(self, host: Host, name: str) -> None:
        """End a guest that has not started yet."""
        if (guest := host.guests.get(name)) is not None and guest.is_starting:
            del host.guests[name]

    def suspend(self, guest: Guest) -> None:
        if guest.state is DomainState.RUNNING:
            self.stand(guest, DomainState.PAUSED, "user")
            self.emit(guest, Lifecycle.SUSPENDED, Suspended.PAUSED)

    def resume(self, guest: Guest) -> None:
        """Let it run, and end the hand-over of one that arrived."""
        if guest.state is DomainState.INCOMING or has_switched(guest):
            raise Refused(f"{guest.name} is still on its way in, or goes on where it was sent to")
        if (guest.name, guest.host.name) in self._not_resumed and guest.state in _STANDING:
            raise Refused(f"resume {guest.name}: unable to execute 'cont': failed to get the write lock of its disk")
        keeps_pause = guest.mark is Mark.PAUSED
        guest.mark = Mark.SECOND if guest.mark is Mark.SECOND else Mark.NONE
        if guest.state is DomainState.ARRIVED and keeps_pause:
            guest.state = DomainState.PAUSED
        elif guest.state in _STANDING and not guest.is_starting and guest.migration is None:
            self.run(guest, "unpaused")
            self.emit(guest, Lifecycle.RESUMED, RESUMED_UNPAUSED)

    def begin_destroy(self, guest: Guest) -> "asyncio.Future[None]":
        done: asyncio.Future[None] = promise(asyncio.get_running_loop())

        def finish() -> None:
            if self.is_alive(guest):
                self.remove(guest, Stopped.DESTROYED, Shutdown.HOST)
            succeed(done, None)

        self.later(guest.host, self.timing.destroy_s, finish)
        return done

    def find_host(self, uri: str) -> Host | None:
        """The host that a libvirt uri names, if there is one."""
        return next((host for host in self._hosts.values() if (urlsplit(uri).hostname or "") in host.addresses), None)

    def _fall_silent(self, host: Host) -> None:
        for migration in _migrations_of(host):
            course.Course(self, migration).note_silence(host)

    @staticmethod
    def _go_on(host: Host) -> None:
        if host.is_frozen or host.is_libvirtd_frozen:
            return
        waiting, host.waiting = host.waiting, []
        for go_on in waiting:
            go_on()


def _migrations_of(host: Host) -> list[Migration]:
    return [guest.migration for guest in list(host.guests.values()) if guest.migration is not None]
