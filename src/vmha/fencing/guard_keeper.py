"""The guard's mind and hands: deadline, killing, watchdog and memory put together, driven by ``tick`` and ``answer``.

It owns no loop, no socket and no clock: the guard's loop calls ``tick`` at least every ``SCAN_EVERY_S`` while a session
is armed or expired, and ``answer`` for each request. Neither waits for anything.

Order that must hold: a deadline is written down before the agent hears "armed" (a guard killed right after would
otherwise come back without one), and the watchdog is petted only while the session is valid or all managed guests are
verified gone. Standard library only: the guard imports this.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from vmha.fencing.deadline import EXPIRED, Deadline, Outcome, State, Verdict
from vmha.fencing.guard_protocol import Arm, AskStatus, Beat, Disarm, Expire, Ping, Request, committed_at
from vmha.fencing.guard_state import KillRecord, SavedState, load, save
from vmha.fencing.qemu_processes import Guest, Scan
from vmha.fencing.watchdog import Watchdog

SCAN_EVERY_S = 0.1
"""How often an expired guard looks for managed guests; also the longest it sleeps while a session is armed, because
poll() counts a clock that stands still in a suspended machine and would oversleep the deadline."""

LOOK_EVERY_S = 1.0
"""How often an armed guard looks, so that status is true and no file has to be parsed when the killing begins."""

REOPEN_WATCHDOG_S = 0.5
MAX_NOTES = 20


class Processes(Protocol):
    """Where the managed guests are found: see QemuProcesses."""

    def scan(self, told: frozenset[str]) -> Scan: ...


class Killer(Protocol):
    """How they are ended: see Killing."""

    @property
    def outstanding(self) -> tuple[Guest, ...]: ...

    @property
    def errors(self) -> tuple[str, ...]: ...

    def hold(self, guests: Iterable[Guest], *, instead: bool = True) -> None: ...

    def strike(self, guest: Guest) -> None: ...

    def strike_held(self) -> None: ...

    def reap(self) -> None: ...


class Keeper:
    """One guard. ``wall`` gives seconds since 1970, for the proof only."""

    def __init__(
        self,
        *,
        state_path: Path,
        boot_id: str,
        processes: Processes,
        killer: Killer,
        watchdog: Watchdog,
        wall: Callable[[], float],
        now: float,
    ) -> None:
        self._state_path = state_path
        self._boot_id = boot_id
        self._processes = processes
        self._killer = killer
        self._watchdog = watchdog
        self._wall = wall
        self._notes: deque[str] = deque(maxlen=MAX_NOTES)
        saved, note = load(state_path, boot_id, now)
        if note:
            self.note(note, now)
        self._deadline = saved.deadline
        self._committed_at = saved.committed_at
        self._watchdog_s = saved.watchdog_s
        self._managed = saved.managed
        self._last_kill = saved.last_kill
        self._scan = Scan()
        self._looked_at = self._petted_at = self._opened_at = float("-inf")
        for guest in saved.outstanding:
            # Struck before this guard was killed: it may be dying without a status file that tells of it.
            self._killer.strike(guest)
        self.tick(now)

    @property
    def state(self) -> State:
        return self._deadline.state

    def note(self, words: str, now: float) -> None:
        """Keep something worth knowing for status."""
        self._notes.append(f"{now:.1f}: {words}")

    def wake_in_s(self, now: float) -> float | None:
        """How long the loop may sleep; None: until somebody asks."""
        waits = []
        if self._deadline.state is not State.IDLE:
            waits.append(SCAN_EVERY_S)
        if self._deadline.wake_at is not None:
            waits.append(self._deadline.wake_at - now)
        if self._watchdog.is_open and self._may_pet:
            waits.append(self._petted_at + self._watchdog.pet_every_s - now)
        return max(0.0, min(waits)) if waits else None

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._become(self._deadline.tick(now), now)
        if self._deadline.state in EXPIRED:
            self._end_guests(now)
        elif self._deadline.state is State.ARMED and now >= self._looked_at + LOOK_EVERY_S:
            self._look(now)
        self._keep_watchdog(now)

    def answer(self, request: Request, now: float) -> tuple[bool, str, str]:
        """Carry a request out: whether it was done, else the verdict and the words."""
        match request:
            case Arm():
                return self._arm(request, now)
            case Beat():
                outcome = self._deadline.beat(request.session, sent_at=request.sent_at, now=now)
                if outcome.verdict is Verdict.OK:
                    self._hear_of(request.managed)
                    self._committed_at = max(self._committed_at or 0.0, committed_at(request))
                return self._settle(outcome, now)
            case Expire():
                return self._settle(self._deadline.expire(request.session, cause=request.cause, now=now), now)
            case Disarm():
                left = self._count_guests(now) if self.state is State.ARMED else 0
                return self._settle(self._deadline.disarm(request.session, guests_left=left, now=now), now)
            case AskStatus():
                self.tick(now)
                if self._deadline.state is State.IDLE:
                    self._look(now)
                return True, "", ""
            case Ping():
                return True, "", ""

    def status(self, now: float) -> dict[str, Any]:
        """The guard as it is, ready for JSON."""
        deadline = self._deadline
        is_timed = deadline.state is not State.IDLE
        watchdog = self._watchdog.reading
        return {
            "state": deadline.state.value,
            "session": deadline.session,
            "cause": deadline.cause,
            "now": now,
            "sent_at": deadline.sent_at if is_timed else None,
            "hold_s": deadline.hold_s if is_timed else None,
            "deadline": deadline.deadline if is_timed else None,
            "kill_at": deadline.kill_at if is_timed else None,
            "committed_at": self._committed_at if is_timed else None,
            "expired_at": deadline.expired_at,
            "clean_at": deadline.clean_at,
            "watchdog": {**asdict(watchdog), "armed": self.is_watchdog_armed, "wanted_s": self._watchdog_s},
            "guests": [guest.name for guest in self._scan.guests],
            "unclear": [*self._scan.unclear, *self._killer.errors],
            "last_kill": asdict(self._last_kill) if self._last_kill else None,
            "notes": list(self._notes),
        }

    @property
    def is_watchdog_armed(self) -> bool:
        """The host will be reset if this guard can not act."""
        return self._deadline.state is not State.IDLE and self._watchdog_s > 0 and self._watchdog.is_exact

    @property
    def _may_pet(self) -> bool:
        # Nothing managed that should have ended runs. Idle pets too: the device is then open only when its driver does
        # not let it stop.
        return self._deadline.state is not State.EXPIRED_KILLING

    def may_close(self) -> bool:
        """Whether the guard may end and stop the watchdog: no claim is held here."""
        return self._deadline.state in (State.IDLE, State.EXPIRED_CLEAN)

    def close(self) -> None:
        """End in good order. An armed session's watchdog ticks on: a successor is to pet it, or the host is reset."""
        if self.may_close():
            self._watchdog.close()

    def _arm(self, request: Arm, now: float) -> tuple[bool, str, str]:
        # Only a change of session asks whether guests are left; idle is exempt (see Deadline.arm).
        is_change = self.state is not State.IDLE and request.session != self._deadline.session
        outcome = self._deadline.arm(
            request.session,
            hold_s=request.hold_s,
            kill_lead_s=request.kill_lead_s,
            sent_at=request.sent_at,
            now=now,
            guests_left=self._count_guests(now) if is_change else 0,
        )
        if outcome.verdict is not Verdict.OK:
            return self._settle(outcome, now)
        before = (self._deadline, self._managed, self._watchdog_s, self._committed_at)
        self._deadline, self._watchdog_s = outcome.deadline, request.watchdog_s
        self._committed_at = committed_at(request)
        self._hear_of(request.managed)
        try:
            self._save()
        except OSError as error:
            self._deadline, self._managed, self._watchdog_s, self._committed_at = before
            return False, Verdict.INVALID, f"{self._state_path}: {error.strerror}: a deadline that can be lost is none"
        if request.watchdog_s > 0:
            self._open_watchdog(now)
        self._look(now)
        self.tick(now)
        return True, "", ""

    def _settle(self, outcome: Outcome, now: float) -> tuple[bool, str, str]:
        self._become(outcome.deadline, now)
        if outcome.verdict is Verdict.OK:
            self._try_save(now)
            self.tick(now)
        return outcome.verdict is Verdict.OK, outcome.verdict.value, outcome.words

    def _become(self, deadline: Deadline, now: float) -> None:
        was = self._deadline
        self._deadline = deadline
        if deadline.state is State.EXPIRED_KILLING and was.state is State.ARMED:
            # Kill first: everything else, the file too, waits for that.
            self._end_guests(now)
        elif deadline.state is State.IDLE and was.state is not State.IDLE:
            self._killer.hold(())
            self._managed, self._watchdog_s = frozenset(), 0
            self._watchdog.close()

    def _end_guests(self, now: float) -> None:
        self._killer.reap()
        try:
            self._look(now)
        except Exception:  # no memory for a look, say: what is held needs none
            self._killer.strike_held()
            raise
        if self._scan.is_empty and not self._killer.outstanding:
            self._verify_gone(now)
            return
        for guest in self._scan.guests:
            self._killer.strike(guest)
        if self._scan.unclear:
            self._killer.strike_held()
        ended = dict.fromkeys((*self._scan.guests, *self._killer.outstanding))
        self._killer.reap()
        record = self._record(now).with_guests(ended)
        is_news = record != self._last_kill or self._deadline.state is State.EXPIRED_CLEAN
        self._last_kill = record
        self._deadline = self._deadline.guest_appeared()
        if is_news:
            self._try_save(now)

    def _verify_gone(self, now: float) -> None:
        if self._deadline.state is State.EXPIRED_CLEAN:
            return
        self._killer.hold(())
        self._deadline = self._deadline.guests_gone(now)
        self._last_kill = replace(self._record(now), verified_at=now)
        self._try_save(now)

    def _record(self, now: float) -> KillRecord:
        """The proof of this expiry, begun if need be; open again, because something is left or was just ended."""
        if self._last_kill and self._last_kill.begun_at == self._deadline.expired_at:
            return replace(self._last_kill, verified_at=None)
        return KillRecord(
            session=self._deadline.session,
            cause=self._deadline.cause,
            begun_at=now if self._deadline.expired_at is None else self._deadline.expired_at,
            begun_wall=self._wall(),
        )

    def _look(self, now: float) -> None:
        self._scan = self._processes.scan(self._managed)
        self._looked_at = now
        if self._deadline.state is State.ARMED:
            self._killer.hold(self._scan.guests, instead=not self._scan.unclear)

    def _count_guests(self, now: float) -> int:
        self._look(now)
        return len(self._scan.guests) + len(self._scan.unclear)

    def _hear_of(self, managed: frozenset[str] | None) -> None:
        if managed is not None:
            self._managed = managed

    def _open_watchdog(self, now: float) -> None:
        self._opened_at = self._petted_at = now
        self._watchdog.open(self._watchdog_s)

    def _keep_watchdog(self, now: float) -> None:
        state = self._deadline.state
        is_due = self._watchdog_s > 0 and not self._watchdog.is_open and state in (State.ARMED, State.EXPIRED_CLEAN)
        if is_due and now >= self._opened_at + REOPEN_WATCHDOG_S:
            # After this guard's predecessor was killed the timer runs on, and the device may still be busy.
            self._open_watchdog(now)
        if self._watchdog.is_open and self._may_pet and now >= self._petted_at + self._watchdog.pet_every_s:
            self._petted_at = now
            self._watchdog.pet()

    def _try_save(self, now: float) -> None:
        try:
            self._save()
        except OSError as error:
            # The file before holds an earlier deadline: a successor would kill too early, never too late.
            self.note(f"{self._state_path}: {error.strerror}", now)

    def _save(self) -> None:
        state = SavedState(
            deadline=self._deadline,
            watchdog_s=self._watchdog_s,
            managed=self._managed,
            committed_at=self._committed_at,
            last_kill=self._last_kill,
            outstanding=self._killer.outstanding,
        )
        save(self._state_path, state, self._boot_id)
