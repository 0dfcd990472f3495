"""Hosts with guests on them, on the loop's time: what happens to a guest, told to libvirt's listeners and to history.

A host does what it was asked for by itself, as libvirtd would, whether or not the agent that asked lives to see it. One
without power has nothing; a frozen one does nothing until it thaws. ``history`` is the truth that an invariant checker
may read: who ran where, from when to when. It is written here, at the one place where guests change.
"""

import asyncio
import contextvars
from collections.abc import Callable, Iterable

from vmha.hypervisor.lifecycle import Lifecycle, Shutdown, Stopped
from vmha.hypervisor.port import DomainState
from vmha.hypervisor.twin.fabric_state import Deed, Fact, Guest, Host, Memory, Timing
from vmha.hypervisor.twin.simulated_files import SharedFiles
from vmha.model.clock import Clock
from vmha.model.errors import Broken


class SimulatedHosts:
    """``reachable(source, target)`` answers for the network between two hosts' libvirtds."""

    def __init__(self, clock: Clock, *, timing: Timing, reachable: Callable[[str, str], bool]) -> None:
        self.clock = clock
        self.timing = timing
        self.reachable = reachable
        self.history: list[Fact] = []
        self.is_own_switch_atomic = False
        """Its own switch is not struck half-way: what libvirt does by itself then no software on the hosts prevents."""
        self.busy: set[str] = set()  # guests that change their memory faster than a live migration copies it
        self.bad_disks: frozenset[tuple[str, str]] = frozenset()
        self.lost_replies: set[str] = set()
        self.files = SharedFiles()
        self.context = contextvars.Context()  # no process's: what a host does goes on without its agent
        self._hosts: dict[str, Host] = {}

    def begins_to_run(self, guest: Guest) -> None:
        """What else follows from it; it is not on record yet."""

    def has_ended(self, guest: Guest) -> None:
        """What else follows from it."""

    def add_host(self, name: str, *, addresses: Iterable[str] = (), memory_mib: int = 16384, vcpus: int = 8) -> Host:
        """A host is reached by its name and by its addresses in a migration's target uri."""
        host = self._hosts[name] = Host(name, frozenset(addresses) | {name}, memory_mib, vcpus)
        return host

    def host(self, name: str) -> Host:
        """The host; one never heard of is a host outside the cluster."""
        return self._hosts.get(name) or self.add_host(name)

    # ---------------------------------------------------------------- the truth

    def running_instances(self, uuid_or_name: str) -> list[tuple[str, float]]:
        """Where its processors run, and since when; a frozen host's do not."""
        return [
            (guest.host.name, guest.since)
            for guest in self.instances_of(uuid_or_name)
            if guest.state is DomainState.RUNNING and not (guest.host.is_frozen or guest.is_frozen)
        ]

    def instances(self, uuid_or_name: str) -> list[tuple[str, DomainState]]:
        """Every QEMU of it, running or not."""
        return [(guest.host.name, guest.state) for guest in self.instances_of(uuid_or_name)]

    def instances_of(self, uuid_or_name: str, host: str | None = None) -> list[Guest]:
        return [
            guest
            for machine in self._hosts.values()
            for guest in machine.guests.values()
            if uuid_or_name in (guest.name, guest.uuid) and host in (None, machine.name)
        ]

    def can_talk(self, source: Host, target: Host) -> bool:
        both_up = all(host.has_power and host.has_libvirtd for host in (source, target))
        return both_up and self.reachable(source.name, target.name)

    # ---------------------------------------------------------------- what happens to a guest

    def run(self, guest: Guest, reason: str) -> None:
        guest.state, guest.reason, guest.since = DomainState.RUNNING, reason, self.clock.now()
        self.begins_to_run(guest)
        for other in self.instances_of(guest.name):
            # What is still being copied follows the source; what is complete does not.
            if other.memory is guest.memory and other is not guest and other.state is not DomainState.INCOMING:
                other.is_stale = True
        self.record(guest, Deed.RUNS)
        if guest.memory.shutdown_asked:
            self.later(guest.host, self.timing.shutdown_s, lambda: self._obey_shutdown(guest.memory))

    def stand(self, guest: Guest, state: DomainState, reason: str) -> None:
        guest.state, guest.reason = state, reason
        self.record(guest, Deed.STANDS)

    def end(self, guest: Guest, detail: Stopped) -> None:
        """As ``remove``, for one that may have ended meanwhile."""
        if self.is_alive(guest):
            self.remove(guest, detail)

    def remove(self, guest: Guest, detail: Stopped, shutdown: Shutdown | None = None) -> None:
        if guest.host.guests.pop(guest.name, None) is not guest:
            raise Broken(f"{guest.name} is not on {guest.host.name}")
        if guest.host.has_libvirtd and not guest.host.is_libvirtd_frozen:
            guest.host.log[guest.name] = (detail.name.lower(), f"{self.clock.wall():.3f}")
        self.record(guest, Deed.ENDS)
        if shutdown is not None:
            self.emit(guest, Lifecycle.SHUTDOWN, shutdown)
        self.emit(guest, Lifecycle.STOPPED, detail)
        self.has_ended(guest)

    def ask_shutdown(self, guest: Guest) -> None:
        """Press its power button: an obedient guest is off after ``shutdown_s``, wherever it is by then."""
        guest.memory.shutdown_asked = True
        self.later(guest.host, self.timing.shutdown_s, lambda: self._obey_shutdown(guest.memory))

    def _obey_shutdown(self, memory: Memory) -> None:
        if not memory.shutdown_asked or not memory.obeys:
            return
        for guest in [each for host in self._hosts.values() for each in host.guests.values() if each.memory is memory]:
            if guest.state is DomainState.RUNNING and not (guest.host.is_frozen or guest.is_frozen):
                self.remove(guest, Stopped.SHUTDOWN, Shutdown.GUEST)

    def takes_reply(self, name: str) -> bool:
        """Whether the last reply of this migration of ``name`` gets lost; it is lost once."""
        is_lost = name in self.lost_replies
        self.lost_replies.discard(name)
        return is_lost

    # ---------------------------------------------------------------- how it is told

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
                sent_by_hand_over=guest.sent_by_hand_over,
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

        self.later(host, self.timing.told_s, deliver)

    def later(self, host: Host, delay_s: float, work: Callable[[], None]) -> None:
        """Do it on ``host`` after a while: at the thaw if it is frozen by then, never if its power went."""

        def due() -> None:
            if host.is_frozen or host.is_libvirtd_frozen:
                host.waiting.append(work)
            elif host.has_power:
                work()

        # No process's timer: a libvirtd goes on whatever became of the agent that asked it.
        asyncio.get_running_loop().call_later(delay_s, due, context=self.context)

    @staticmethod
    def is_alive(guest: Guest) -> bool:
        return guest.host.guests.get(guest.name) is guest
