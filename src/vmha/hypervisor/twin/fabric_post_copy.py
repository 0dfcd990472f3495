"""A migration of the simulated world from the switch of its post-copy on: the target runs, and fetches what it lacks.

What is between the two QEMUs is one thing, what their libvirtds know of it another, as measured on libvirt 9.0 with
QEMU 7.2:

* a libvirtd that dies or stands still, of either side, and a cable that is cut for a while end nothing: the source's
  libvirtd calls it failed (or says nothing, if it was it that died), the QEMUs go on, and when all is fetched the
  source ends as one that has migrated;
* a QEMU that dies breaks it in two: neither side has all of the memory. Its peer is told so at once, or, when the whole
  host went without a word, after the keepalive (a source) or **never** (a target: it waits for memory for ever);
* a connection that is lost while both QEMUs live breaks it in two as well, and can be taken up again on demand;
* a QEMU that stands still, of either side, breaks nothing: nothing is fetched until it goes on;
* the source never runs again by itself, whatever happens;
* what it took is not to be had at the target; the source's libvirtd says it in the end.
"""

from vmha.hypervisor.answers import fail, succeed
from vmha.hypervisor.lifecycle import Lifecycle, Stopped, Suspended
from vmha.hypervisor.port import DomainState, MigrationFailed
from vmha.hypervisor.twin.fabric_frozen import waits_for
from vmha.hypervisor.twin.fabric_hosts import SimulatedHosts
from vmha.hypervisor.twin.fabric_state import Guest, Host, Leg, Migration
from vmha.model.migration import Arrival

RESUMED_POSTCOPY, RESUMED_POSTCOPY_FAILED = 3, 4  # libvirt's VIR_DOMAIN_EVENT_RESUMED_*
TICK_S = 0.25
UNTOLD_S = 0.5
"""How often a source that is done looks whether its libvirtd is there to end it."""


def tell_what_it_took(fabric: SimulatedHosts, migration: Migration) -> None:
    """As the source's QEMU has ended; of what was called failed, or outlived its libvirtd, nothing is."""
    source = migration.source
    if migration.outcome.done() or migration.is_untold or not source.host.has_libvirtd:
        return
    took = Arrival(total_s=fabric.clock.now() - migration.began, downtime_s=migration.downtime_s)
    for listener in tuple(source.host.on_departure):
        listener(source.name, took)


class Pull:
    """What becomes of ``migration`` while its target pulls."""

    def __init__(self, fabric: SimulatedHosts, migration: Migration) -> None:
        assert migration.target is not None
        self._fabric, self._migration, self._target = fabric, migration, migration.target

    def begin(self, left_s: float) -> None:
        """The switch."""
        fabric, migration = self._fabric, self._migration
        source, target = migration.source, self._target
        migration.leg, migration.left_s = Leg.PULLING, left_s
        fabric.stand(source, DomainState.OUTGOING, "postcopy")
        fabric.emit(source, Lifecycle.SUSPENDED, Suspended.POSTCOPY)
        if not waits_for(target, self._run_target):
            self._run_target()
        self._tick()

    def _run_target(self) -> None:
        """It has all that it needs for that, whatever has become of the source meanwhile."""
        self._fabric.run(self._target, "postcopy")
        self._fabric.emit(self._target, Lifecycle.RESUMED, RESUMED_POSTCOPY)

    def give_up(self, message: str) -> None:
        """The source's libvirtd does; the QEMUs may go on."""
        fabric, migration = self._fabric, self._migration
        fail(migration.outcome, MigrationFailed(f"migrate {self._target.name} to {self._target.host.name}: {message}"))
        if fabric.is_alive(migration.source):
            migration.source.reason = "postcopy_failed"
            fabric.emit(migration.source, Lifecycle.SUSPENDED, Suspended.POSTCOPY_FAILED)

    def note_silence(self, host: Host) -> None:
        """``host`` says nothing from now on."""

        def notice() -> None:
            is_dumb = host.is_frozen or host.is_libvirtd_frozen or not host.has_power
            if is_dumb and self._migration.leg is Leg.PULLING:
                self.give_up("client socket is closed")

        if host is self._target.host:
            self._fabric.later(self._migration.source.host, self._fabric.timing.cut_noticed_s, notice)

    def libvirtd_stopped(self, host: Host) -> None:
        if host is self._target.host:
            self.give_up("client socket is closed")
        else:
            self._migration.is_untold = True

    def end_died(self, guest: Guest) -> None:
        """The QEMU of one side has ended. What the history says of the target's stays: it runs until it lacks some."""
        fabric, migration = self._fabric, self._migration
        what = f"its QEMU on {guest.host.name} ended"
        has_power = guest.host.has_power
        if guest is migration.source:
            fail(migration.outcome, MigrationFailed(f"migrate {guest.name}: {what}"))
            migration.leg, self._target.migration = Leg.OVER, None
            if has_power:
                fabric.later(self._target.host, 0.0, self._break_target)
            return
        migration.leg, migration.source.migration = Leg.OVER, None
        fabric.later(
            migration.source.host, 0.0 if has_power else fabric.timing.cut_noticed_s, lambda: self.give_up(what)
        )

    def break_in_two(self, message: str) -> None:
        """Their connection is lost, and both live."""
        migration, target = self._migration, self._target
        migration.leg = Leg.OVER
        migration.source.migration = target.migration = None
        migration.source.halved = migration
        self.give_up(message)
        self._break_target()

    def why_not_again(self) -> str:
        """'' if what was broken in two can be taken up again now."""
        migration, fabric = self._migration, self._fabric
        if migration.leg is Leg.PULLING:
            return "QEMU reports migration is still running"
        if not fabric.is_alive(self._target) or not fabric.can_talk(migration.source.host, self._target.host):
            return "unable to connect to server"
        return ""

    def take_up_again(self, again: Migration) -> None:
        """``again`` has the two halves of the migration that was broken in two."""
        source, target = again.source, self._target
        again.target = target
        source.halved, source.migration, target.migration = None, again, again
        source.reason, again.leg, again.left_s = "postcopy", Leg.PULLING, self._migration.left_s
        target.state, target.reason = DomainState.RUNNING, "postcopy"
        self._fabric.emit(target, Lifecycle.RESUMED, RESUMED_POSTCOPY)
        Pull(self._fabric, again)._tick()

    # ---------------------------------------------------------------- the steps

    def _tick(self) -> None:
        fabric, migration = self._fabric, self._migration
        if migration.leg is not Leg.PULLING:
            return
        if migration.source.is_frozen or self._target.is_frozen:
            fabric.later(migration.source.host, TICK_S, self._tick)
            return
        if self._is_connected():
            migration.left_s -= TICK_S
            migration.stalled_s = 0.0
        else:
            migration.stalled_s += TICK_S
            if migration.stalled_s >= fabric.timing.link_lost_s:
                self.break_in_two("connection timed out")
                return
            if migration.stalled_s >= fabric.timing.cut_noticed_s and not migration.outcome.done():
                self.give_up("client socket is closed")
        if migration.left_s > 0:
            fabric.later(migration.source.host, TICK_S, self._tick)
        else:
            self._complete()

    def _is_connected(self) -> bool:
        """Between the QEMUs, whatever their libvirtds do."""
        source, target = self._migration.source.host, self._target.host
        both_run = all(host.has_power and not host.is_frozen for host in (source, target))
        return both_run and self._fabric.reachable(source.name, target.name)

    def _complete(self) -> None:
        migration = self._migration
        migration.leg = Leg.ARRIVED
        if self._target.state is DomainState.RUNNING:  # whom a hand has suspended meanwhile stays so, as "user"
            self._target.reason = "migrated"
        self._fabric.later(migration.source.host, self._fabric.timing.reply_s, self._confirm)

    def _confirm(self) -> None:
        """The source needs nobody's reply to know that all was fetched; a lost one leaves it standing as failed."""
        fabric, migration = self._fabric, self._migration
        source = migration.source
        if not fabric.is_alive(source) or migration.leg is not Leg.ARRIVED:
            return
        if fabric.takes_reply(source.name):
            migration.leg = Leg.OVER
            source.migration = self._target.migration = None
            self.give_up("client socket is closed")
            return
        if not source.host.has_libvirtd:
            fabric.later(source.host, UNTOLD_S, self._confirm)
            return
        migration.leg = Leg.OVER
        source.migration = self._target.migration = None
        fabric.end(source, Stopped.MIGRATED)
        tell_what_it_took(fabric, migration)
        succeed(migration.outcome, None)

    def _break_target(self) -> None:
        fabric, target = self._fabric, self._target
        if waits_for(target, self._break_target):
            return
        if fabric.is_alive(target) and target.reason == "postcopy":
            target.state, target.reason = DomainState.CRASHED, "postcopy_failed"
            fabric.emit(target, Lifecycle.RESUMED, RESUMED_POSTCOPY_FAILED)
