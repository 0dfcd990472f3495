"""All hosts' guests in one simulated world, on the event loop's time: deterministic, and true to libvirt's habits.

The world goes on by itself: an operation once asked for is carried out by its host, whether or not the agent that asked
lives to see it, as libvirtd would. A host without power has nothing; a frozen host does nothing until it thaws, its
guests included. ``history`` is the truth that an invariant checker may read: who ran where, from when to when. It is
written here, at the one place where guests change, and knows nothing of placements or plans.

Hands that reach past vmha are methods as well: an operator's virsh, a guard's SIGKILL, a guest's own power button.
"""

import asyncio
import contextvars
from collections.abc import Callable, Iterable
from typing import TypeVar
from urllib.parse import urlsplit

from vmha.hypervisor import fabric_migration as course
from vmha.hypervisor import fabric_pauses as pauses
from vmha.hypervisor import fabric_saving as saves
from vmha.hypervisor.answers import fail, promise, succeed
from vmha.hypervisor.fabric_state import Deed, Fact, Guest, Host, Memory, Migration, Timing, has_switched, tag_in
from vmha.hypervisor.lifecycle import Lifecycle, Shutdown, Started, Stopped, Suspended
from vmha.hypervisor.port import DomainState, StartFailed, Tag
from vmha.hypervisor.states import Mark
from vmha.model import domain_xml
from vmha.model.clock import Clock
from vmha.model.errors import Broken, Refused

T = TypeVar("T")

_STANDING = (DomainState.PAUSED, DomainState.ARRIVED, DomainState.OUTGOING)
RESUMED_UNPAUSED = 0  # libvirt's VIR_DOMAIN_EVENT_RESUMED_UNPAUSED


class SimulatedFabric:
    """The world. ``reachable(source, target)`` answers for the network between two hosts' libvirtds."""

    def __init__(
        self,
        clock: Clock,
        *,
        timing: Timing | None = None,
        reachable: Callable[[str, str], bool] = lambda source, target: True,
    ) -> None:
        self.clock = clock
        self.timing = timing or Timing()
        self.reachable = reachable
        self.history: list[Fact] = []
        self.is_own_switch_atomic = False
        """Its own switch is not struck half-way: what libvirt does by itself then no software on the hosts prevents."""
        self.busy: set[str] = set()  # guests that change their memory faster than a live migration copies it
        self._context = contextvars.Context()
        self._hosts: dict[str, Host] = {}
        self._start_faults: dict[tuple[str, str], tuple[int, str]] = {}
        self._migration_faults: dict[str, tuple[int, str]] = {}
        self._lost_replies: set[str] = set()
        self._migration_s: dict[str, float] = {}
        self._ignores_acpi: set[str] = set()
        self._boots_slowly: dict[str, tuple[float, str]] = {}
        self.bad_disks: frozenset[tuple[str, str]] = frozenset()
        self._with_agent: set[str] = set()
        self.files = saves.SharedFiles()

    # ---------------------------------------------------------------- hosts

    def add_host(self, name: str, *, addresses: Iterable[str] = (), memory_mib: int = 16384, vcpus: int = 8) -> Host:
        """A host is reached by its name and by its addresses in a migration's target uri."""
        host = self._hosts[name] = Host(name, frozenset(addresses) | {name}, memory_mib, vcpus)
        return host

    def host(self, name: str) -> Host:
        """The host; one never heard of is a host outside the cluster."""
        return self._hosts.get(name) or self.add_host(name)

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
        machine.log.clear()

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

    def fail_migration(self, name: str, *, times: int = 1, message: str = "operation failed: migration") -> None:
        """Half-way through; the guest runs on at its source."""
        self._migration_faults[name] = (times, message)

    def lose_migration_reply(self, name: str) -> None:
        """At the end of its next migration the target is complete, and the source, not told, runs on."""
        self._lost_replies.add(name)

    def set_migration_time(self, name: str, seconds: float) -> None:
        self._migration_s[name] = seconds

    def ignore_acpi(self, name: str) -> None:
        """The guest does not react to a shutdown, in this run and the next."""
        self._ignores_acpi.add(name)
        for guest in self._instances(name):
            guest.memory.obeys_acpi = False

    def crash(self, name: str, *, host: str | None = None) -> None:
        """SIGKILL to its QEMU, on ``host`` or wherever it is."""
        for guest in self._instances(name, host):
            self.remove(guest, Stopped.FAILED)

    def hang(self, name: str, is_so: bool = True) -> None:
        """Nothing inside answers any more; a new boot does."""
        for guest in self._instances(name):
            guest.memory.is_hung = is_so

    def hang_at_boot(self, name: str, *, for_s: float, host: str = "") -> None:
        """Each boot (on ``host``) answers only after so long; 0: as ever."""
        self._boots_slowly[name] = (for_s, host)

    def has_agent(self, name: str) -> None:
        """Every boot of it from now on, and this one, runs a guest agent."""
        self._with_agent.add(name)
        for guest in self._instances(name):
            guest.memory.has_agent = True

    def is_well(self, name: str, host: str) -> bool:
        """It runs there, and answers."""
        guest = self.host(host).guests.get(name)
        return guest is not None and guest.state is DomainState.RUNNING and not guest.memory.is_hung

    def panic(self, name: str) -> None:
        """Its kernel gives up; its QEMU is kept, as by on_crash=preserve."""
        for guest in self._instances(name):
            if guest.state is DomainState.RUNNING:
                self.stand(guest, DomainState.CRASHED, "panicked")
                self.emit(guest, Lifecycle.CRASHED, 0)

    def power_off_guest(self, name: str) -> None:
        """The guest shuts itself down."""
        for guest in self._instances(name):
            if guest.state is DomainState.RUNNING:
                self.remove(guest, Stopped.SHUTDOWN, Shutdown.GUEST)

    def kill_managed(self, host: str) -> tuple[str, ...]:
        """What a guard does: SIGKILL to every guest with a tag, without libvirt. Returns their names."""
        victims = [guest for guest in self.host(host).guests.values() if guest.tag is not None]
        for guest in victims:
            self.remove(guest, Stopped.FAILED)
        return tuple(guest.name for guest in victims)

    # ---------------------------------------------------------------- an operator's virsh

    def virsh_start(self, xml: str, host: str) -> None:
        self.begin_start(self.host(host), xml)

    def virsh_destroy(self, name: str, host: str | None = None) -> None:
        for guest in self._instances(name, host):
            self.remove(guest, Stopped.DESTROYED, Shutdown.HOST)

    def virsh_suspend(self, name: str, host: str | None = None) -> None:
        for guest in self._instances(name, host):
            self.suspend(guest)

    def virsh_resume(self, name: str, host: str | None = None) -> None:
        for guest in self._instances(name, host):
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
            begun.target.sent_by_hand_from = source

    def kill_virsh(self, name: str) -> None:
        """A hand's migration whose client ends (see ``fabric_migration``)."""
        for guest in self._instances(name):
            if guest.migration is not None and guest.migration.source is guest:
                course.Course(self, guest.migration).abandon()

    # ---------------------------------------------------------------- the truth

    def running_instances(self, uuid_or_name: str) -> list[tuple[str, float]]:
        """Where its processors run, and since when; a frozen host's do not."""
        return [
            (guest.host.name, guest.since)
            for guest in self._instances(uuid_or_name)
            if guest.state is DomainState.RUNNING and not (guest.host.is_frozen or guest.is_frozen)
        ]

    def instances(self, uuid_or_name: str) -> list[tuple[str, DomainState]]:
        """Every QEMU of it, running or not."""
        return [(guest.host.name, guest.state) for guest in self._instances(uuid_or_name)]

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
        asyncio.get_running_loop().call_later(for_s, setattr, memory, "is_hung", False, context=self._context)

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

    def takes_reply(self, name: str) -> bool:
        """Whether the last reply of this migration of ``name`` gets lost; it is lost once."""
        is_lost = name in self._lost_replies
        self._lost_replies.discard(name)
        return is_lost

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
        keeps_pause = guest.mark is Mark.PAUSED
        guest.mark = Mark.SECOND if guest.mark is Mark.SECOND else Mark.NONE
        if guest.state is DomainState.ARRIVED and keeps_pause:
            guest.state = DomainState.PAUSED
        elif guest.state in _STANDING and not guest.is_starting and guest.migration is None:
            self.run(guest, "unpaused")
            self.emit(guest, Lifecycle.RESUMED, RESUMED_UNPAUSED)

    def ask_shutdown(self, guest: Guest) -> None:
        """Press its power button: an obedient guest is off after ``shutdown_s``, wherever it is by then."""
        guest.memory.shutdown_asked = True
        self.later(guest.host, self.timing.shutdown_s, lambda: self._obey_shutdown(guest.memory))

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

    # ---------------------------------------------------------------- inside

    def _instances(self, uuid_or_name: str, host: str | None = None) -> list[Guest]:
        return [
            guest
            for machine in self._hosts.values()
            for guest in machine.guests.values()
            if uuid_or_name in (guest.name, guest.uuid) and host in (None, machine.name)
        ]

    def can_talk(self, source: Host, target: Host) -> bool:
        both_up = all(host.has_power and host.has_libvirtd for host in (source, target))
        return both_up and self.reachable(source.name, target.name)

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

    def end(self, guest: Guest, detail: Stopped) -> None:
        """As ``remove``, for one that may have ended meanwhile."""
        if self.is_alive(guest):
            self.remove(guest, detail)

    def _obey_shutdown(self, memory: Memory) -> None:
        if not memory.shutdown_asked or not memory.obeys_acpi:
            return
        for guest in [each for host in self._hosts.values() for each in host.guests.values() if each.memory is memory]:
            if guest.state is DomainState.RUNNING and not (guest.host.is_frozen or guest.is_frozen):
                self.remove(guest, Stopped.SHUTDOWN, Shutdown.GUEST)

    def run(self, guest: Guest, reason: str) -> None:
        guest.state, guest.reason, guest.since = DomainState.RUNNING, reason, self.clock.now()
        saves.note_run(self, guest)
        for other in self._instances(guest.name):
            # What is still being copied follows the source; what is complete does not.
            if other.memory is guest.memory and other is not guest and other.state is not DomainState.INCOMING:
                other.is_stale = True
        self.record(guest, Deed.RUNS)
        pauses.note_run(self, guest)
        if guest.memory.shutdown_asked:
            self.later(guest.host, self.timing.shutdown_s, lambda: self._obey_shutdown(guest.memory))

    def stand(self, guest: Guest, state: DomainState, reason: str) -> None:
        guest.state, guest.reason = state, reason
        self.record(guest, Deed.STANDS)

    def remove(self, guest: Guest, detail: Stopped, shutdown: Shutdown | None = None) -> None:
        if guest.host.guests.pop(guest.name, None) is not guest:
            raise Broken(f"{guest.name} is not on {guest.host.name}")
        if guest.host.has_libvirtd and not guest.host.is_libvirtd_frozen:
            guest.host.log[guest.name] = (detail.name.lower(), self.clock.wall())
        self.record(guest, Deed.ENDS)
        if shutdown is not None:
            self.emit(guest, Lifecycle.SHUTDOWN, shutdown)
        self.emit(guest, Lifecycle.STOPPED, detail)
        if guest.migration is not None:
            course.Course(self, guest.migration).end_died(guest)

    def record(self, guest: Guest, deed: Deed) -> None:
        deed = Deed.STANDS if guest.is_frozen and deed is Deed.RUNS else deed
        epoch = None if guest.tag is None else int(guest.tag.epoch)
        stale = guest.is_stale and deed is Deed.RUNS
        self.history.append(
            Fact(
                time=self.clock.now(),
                host=guest.host.name,
                vm=guest.name,
                deed=deed,
                epoch=epoch,
                stale=stale,
                sent_by_hand_from=guest.sent_by_hand_from,
            )
        )

    def emit(self, guest: Guest, event: Lifecycle, detail: int) -> None:
        host = guest.host
        if not host.has_libvirtd or not host.has_power:
            return

        def deliver() -> None:
            if host.has_libvirtd:
                for listener in tuple(host.listeners):
                    listener(guest.name, event, detail)

        self.later(host, 0.0, deliver)

    def later(self, host: Host, delay_s: float, work: Callable[[], None]) -> None:
        """Do it on ``host`` after a while: at the thaw if it is frozen by then, never if its power went."""

        def due() -> None:
            if host.is_frozen or host.is_libvirtd_frozen:
                host.waiting.append(work)
            elif host.has_power:
                work()

        # No process's timer: a libvirtd goes on whatever became of the agent that asked it.
        asyncio.get_running_loop().call_later(delay_s, due, context=self._context)

    @staticmethod
    def is_alive(guest: Guest) -> bool:
        return guest.host.guests.get(guest.name) is guest


def _migrations_of(host: Host) -> list[Migration]:
    return [guest.migration for guest in list(host.guests.values()) if guest.migration is not None]
