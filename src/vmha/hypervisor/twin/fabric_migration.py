"""The course of one migration in the simulated world, with libvirt's own behaviour where it breaks.

    copying     the source runs (live) or stands (pause); the target's QEMU takes its memory in
    switching   all of it is sent and the source stands; the target has not been told to finish
    arrived     the target is complete, standing or running as ordered; the source waits for the reply
    pulling     post-copy, on demand (a hand's: after half of the copying): see ``fabric_post_copy``
    over        the reply came: the source's QEMU has ended

What breaks it, as measured on libvirt 9.0 with QEMU 7.2, peer to peer:

* before the target is complete, the source goes on as it was and the half that came in is ended: at once when a
  process dies, after libvirt's keepalive when a cable, a frozen host or a frozen libvirtd is the cause;
* after it, the source **goes on as well**, because it was not told: only a target that was left standing is no second;
* a source whose libvirtd dies while it stands does not go on: stopped for copying, the next libvirtd lets it run;
  stopped for the switch, it stands until somebody decides;
* a client that drives it (virsh without --p2p) and dies leaves the source running while it copies; at the switch the
  source stands and the target is ended, and after it the target runs and the source stands, for ever;
* a target whose libvirtd dies before it is complete stays half arrived until the next libvirtd ends it.
"""

import asyncio

from vmha.hypervisor.answers import fail, promise, succeed
from vmha.hypervisor.lifecycle import Lifecycle, Started, Stopped, Suspended
from vmha.hypervisor.port import DomainState, MigrationFailed, Tag
from vmha.hypervisor.states import Mark
from vmha.hypervisor.twin.fabric_frozen import waits_for, waits_for_either
from vmha.hypervisor.twin.fabric_hosts import SimulatedHosts
from vmha.hypervisor.twin.fabric_post_copy import Pull, tell_what_it_took
from vmha.hypervisor.twin.fabric_state import Deed, Guest, Host, Leg, Migration, has_switched
from vmha.model.migration import Arrival

RESUMED_MIGRATED = 1  # libvirt's VIR_DOMAIN_EVENT_RESUMED_MIGRATED
LOST = "client socket is closed"
PASS_AT_LEAST_S = 0.1


class Course:
    """What happens to ``migration``, step by step, on the source's host as long as that has power."""

    def __init__(self, fabric: SimulatedHosts, migration: Migration) -> None:
        self._fabric, self._migration = fabric, migration

    def set_out(self, tag: Tag | None, target: Host, mark: Mark, *, fault: tuple[float, str] | None) -> None:
        """``fault``: after so many seconds the source's QEMU gives up, with these words."""
        fabric, migration, source = self._fabric, self._migration, self._migration.source
        arriving = Guest(
            name=source.name,
            uuid=source.uuid,
            xml=source.xml,
            host=target,
            state=DomainState.INCOMING,
            reason="migration",
            tag=tag,
            memory=source.memory,
            mark=mark,
            migration=migration,
        )
        migration.target, source.migration = arriving, migration
        target.guests[source.name] = arriving
        target.log.pop(source.name, None)
        fabric.record(arriving, Deed.STANDS)
        fabric.emit(arriving, Lifecycle.STARTED, Started.MIGRATED)
        fabric.later(source.host, 0.0, self._tell_of_first_pass)
        if not migration.is_live:
            self._stop_source()
        if fault is not None:
            fabric.later(source.host, fault[0], lambda: self.break_off(fault[1]))
            return
        copy_s = max(0.0, migration.duration_s - fabric.timing.switch_s - fabric.timing.reply_s)
        fabric.later(source.host, copy_s / 2, lambda: self._half_way(copy_s / 2))

    def start_post_copy(self, left_s: float) -> None:
        """
        Raises:
            MigrationFailed: it was not begun so, or is not copying.
        """
        migration = self._migration
        if not migration.may_post_copy or migration.leg is not Leg.COPYING or migration.outcome.done():
            raise MigrationFailed(f"{migration.source.name} is not being copied by a migration that may switch")
        if self._is_broken():
            raise MigrationFailed(f"{migration.source.name}: {LOST}")
        Pull(self._fabric, migration).begin(left_s)

    def break_off(self, message: str, *, resumes: bool = True) -> None:
        """The source goes on as it was, unless something else is to decide that; a half that came in is ended."""
        fabric, migration = self._fabric, self._migration
        source, target = migration.source, migration.target
        if migration.outcome.done() or target is None or migration.leg is Leg.OVER:
            return  # over: one side has ended while the target pulled, and the source is told soon
        if migration.leg is Leg.PULLING:
            Pull(fabric, migration).break_in_two(message)
            return
        if waits_for(source, lambda: self.break_off(message, resumes=resumes)):
            return
        is_complete = migration.leg is Leg.ARRIVED
        if is_complete and has_switched(source):
            return  # all was fetched, and its QEMU needs nobody's word for that
        migration.leg = Leg.OVER
        source.migration = target.migration = None
        fail(migration.outcome, MigrationFailed(f"migrate {target.name} to {target.host.name}: {message}"))
        if resumes and fabric.is_alive(source) and source.state is DomainState.OUTGOING:
            self._resume_source()
        if not is_complete and fabric.is_alive(target) and not target.ends_with_libvirtd:

            def end_target() -> None:
                fabric.end(target, Stopped.FAILED)

            if not waits_for(target, end_target):
                fabric.later(target.host, 0.0, end_target)

    def abort(self) -> None:
        if self._migration.leg is Leg.COPYING:
            self.break_off("operation aborted: canceled by client")

    def abandon(self) -> None:
        """The virsh that drove it is gone: neither libvirtd learns how it ended."""
        if self._migration.leg is Leg.PULLING:
            Pull(self._fabric, self._migration).give_up("the client is gone")
            return
        self.break_off("the client is gone", resumes=self._migration.leg is Leg.COPYING)

    def note_silence(self, host: Host) -> None:
        """``host``, one of the two ends, says nothing from now on: its peer notices by its keepalive."""
        fabric, migration = self._fabric, self._migration
        target = migration.target
        if migration.outcome.done() or target is None:
            return
        noticed_s = fabric.timing.cut_noticed_s
        if migration.leg is Leg.PULLING:
            Pull(fabric, migration).note_silence(host)
            return
        if host is target.host:
            fabric.later(migration.source.host, noticed_s, lambda: self.break_off(LOST))
            return

        def give_up() -> None:
            if migration.leg in (Leg.COPYING, Leg.SWITCHING) and not migration.outcome.done():
                migration.is_closed = True
                fabric.end(target, Stopped.FAILED)

        fabric.later(target.host, noticed_s, give_up)

    def end_died(self, guest: Guest) -> None:
        """The QEMU of one side has ended."""
        migration, fabric, target = self._migration, self._fabric, self._migration.target
        assert target is not None
        has_no_power = not guest.host.has_power
        what = f"its QEMU on {guest.host.name} ended"
        if migration.leg is Leg.PULLING:
            Pull(fabric, migration).end_died(guest)
            return
        if guest is migration.source:
            if migration.leg is Leg.COPYING:
                if has_no_power:
                    fail(migration.outcome, MigrationFailed(f"migrate {target.name}: {what}"))
                    fabric.later(target.host, fabric.timing.cut_noticed_s, lambda: fabric.end(target, Stopped.FAILED))
                else:
                    self.break_off(what)
                return
            if migration.leg is Leg.SWITCHING and has_no_power:
                fabric.later(target.host, fabric.timing.cut_noticed_s, lambda: fabric.end(target, Stopped.FAILED))
            elif migration.leg is Leg.SWITCHING:
                fabric.later(target.host, fabric.timing.switch_s, self._complete_target)
            migration.leg, target.migration = Leg.OVER, None
            fail(migration.outcome, MigrationFailed(f"migrate {target.name}: {what}"))
            return
        if migration.leg is Leg.ARRIVED and not has_no_power:
            return  # the target had finished: its libvirtd says so, and the source ends
        if has_no_power:
            self.note_silence(guest.host)
        else:
            self.break_off(what)

    # ---------------------------------------------------------------- the steps

    def _tell_of_first_pass(self) -> None:
        source = self._migration.source
        if source.host.has_libvirtd:
            for listener in tuple(source.host.on_migration):
                listener(source.name)

    def _half_way(self, left_s: float) -> None:
        fabric, migration = self._fabric, self._migration
        if waits_for_either(migration, lambda: self._half_way(left_s)):
            return
        if not migration.switches_half_way:
            fabric.later(migration.source.host, left_s, self._switch)
        elif not migration.outcome.done() and not self._is_broken():
            Pull(fabric, migration).begin(left_s)

    def _switch(self) -> None:
        migration = self._migration
        if migration.leg is not Leg.COPYING or migration.outcome.done() or self._is_broken():
            return
        if waits_for_either(migration, self._switch):
            return
        if migration.is_live and migration.source.name in self._fabric.busy:
            migration.passes += 1
            self._fabric.later(migration.source.host, max(migration.duration_s, PASS_AT_LEAST_S), self._switch)
            return
        migration.leg = Leg.SWITCHING
        if migration.source.state is DomainState.RUNNING:
            self._stop_source()
        self._fabric.later(migration.source.host, self._fabric.timing.switch_s, self._arrive)

    def _arrive(self) -> None:
        migration = self._migration
        if migration.outcome.done() or self._is_broken() or waits_for_either(migration, self._arrive):
            return
        migration.leg = Leg.ARRIVED
        self._complete_target()
        if migration.is_paused_at_target or not self._fabric.is_own_switch_atomic:
            self._fabric.later(migration.source.host, self._fabric.timing.reply_s, self._confirm)
        else:
            self._confirm()

    def _confirm(self) -> None:
        fabric, migration = self._fabric, self._migration
        source, target = migration.source, migration.target
        assert target is not None
        if migration.outcome.done():
            return
        if fabric.takes_reply(source.name):
            fabric.later(source.host, fabric.timing.cut_noticed_s, lambda: self.break_off(LOST))
            return
        if self._is_broken():
            return
        migration.leg = Leg.OVER
        source.migration = target.migration = None
        fabric.end(source, Stopped.MIGRATED)
        tell_what_it_took(fabric, migration)
        succeed(migration.outcome, None)

    def _is_broken(self) -> bool:
        """Whether the other side can not be spoken to; it takes the keepalive's time until that is known."""
        fabric, migration, target = self._fabric, self._migration, self._migration.target
        assert target is not None
        has_begun_anew = migration.leg in (Leg.COPYING, Leg.SWITCHING) and not fabric.is_alive(target)
        if migration.is_closed or (has_begun_anew and fabric.can_talk(migration.source.host, target.host)):
            self.break_off(LOST)  # at once: it answers that it knows of no such connection
            return True
        is_dumb = target.host.is_frozen or target.host.is_libvirtd_frozen
        if is_dumb or not fabric.can_talk(migration.source.host, target.host):
            fabric.later(migration.source.host, fabric.timing.cut_noticed_s, lambda: self.break_off(LOST))
            return True
        return False

    def _complete_target(self) -> None:
        fabric, migration, target = self._fabric, self._migration, self._migration.target
        assert target is not None
        if not fabric.is_alive(target):
            return
        now = fabric.clock.now()
        stopped_at = now if migration.stopped_at is None else migration.stopped_at
        migration.downtime_s = now - stopped_at
        target.arrival = Arrival(total_s=now - migration.began, downtime_s=migration.downtime_s)
        if migration.is_paused_at_target:
            is_handover = target.mark.is_handover
            fabric.stand(target, DomainState.ARRIVED if is_handover else DomainState.PAUSED, "user")
            fabric.emit(target, Lifecycle.SUSPENDED, Suspended.PAUSED)
        else:
            fabric.run(target, "migrated")
            fabric.emit(target, Lifecycle.RESUMED, RESUMED_MIGRATED)

    def _stop_source(self) -> None:
        source = self._migration.source
        if source.state is DomainState.RUNNING:
            self._migration.stopped_at = self._fabric.clock.now()
            self._fabric.stand(source, DomainState.OUTGOING, "migration")
            self._fabric.emit(source, Lifecycle.SUSPENDED, Suspended.MIGRATED)

    def _resume_source(self) -> None:
        source = self._migration.source
        self._fabric.run(source, "migration_canceled")
        self._fabric.emit(source, Lifecycle.RESUMED, RESUMED_MIGRATED)


def begin(
    fabric: SimulatedHosts,
    guest: Guest,
    target: Host,
    *,
    tag: Tag | None,
    is_live: bool,
    is_paused_at_target: bool,
    mark: Mark,
    duration_s: float,
    fault: tuple[float, str] | None,
    may_post_copy: bool = False,
    takes_up: bool = False,
) -> Migration:
    """Send ``guest`` on its way; it goes on until it ends or breaks, whoever still waits for it."""
    outcome: asyncio.Future[None] = promise(asyncio.get_running_loop())
    migration = Migration(
        source=guest,
        target=None,
        outcome=outcome,
        is_live=is_live,
        is_paused_at_target=is_paused_at_target or guest.state is DomainState.PAUSED,
        began=fabric.clock.now(),
        duration_s=duration_s,
        may_post_copy=may_post_copy,
    )
    broken = guest.halved or guest.migration
    halves = Pull(fabric, broken) if takes_up and broken is not None else None
    refusal = halves.why_not_again() if halves else _why_not(fabric, guest, target)
    if refusal:
        error = MigrationFailed(f"migrate {guest.name} to {target.name}: {refusal}")
        fabric.later(guest.host, fabric.timing.refusal_s, lambda: fail(outcome, error))
        return migration
    if halves:
        halves.take_up_again(migration)
        return migration
    Course(fabric, migration).set_out(tag, target, mark, fault=fault)
    return migration


def libvirtd_stopped(fabric: SimulatedHosts, migration: Migration, host: Host) -> None:
    """The libvirtd of one end is gone: its sockets close at once."""
    source, target = migration.source, migration.target
    assert target is not None
    if migration.leg is Leg.PULLING:
        Pull(fabric, migration).libvirtd_stopped(host)
        return
    is_source = host is source.host
    if not is_source:
        target.ends_with_libvirtd = migration.leg is Leg.SWITCHING
    elif source.state is DomainState.OUTGOING and migration.leg is Leg.COPYING:
        source.runs_with_libvirtd = True
    Course(fabric, migration).break_off(LOST, resumes=not is_source)


def _why_not(fabric: SimulatedHosts, guest: Guest, target: Host) -> str:
    if guest.migration is not None or guest.state not in (DomainState.RUNNING, DomainState.PAUSED):
        return f"it is {guest.state} and cannot leave"
    if target is guest.host:
        return "attempt to migrate guest to the same host"
    if not fabric.can_talk(guest.host, target):
        return "unable to connect to server: no route to host"
    if any(guest.name == other.name or guest.uuid == other.uuid for other in target.guests.values()):
        return f"domain '{guest.name}' already exists there"
    return ""
