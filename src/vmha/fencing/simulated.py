"""A guard without a process: the same deadline, on whatever clock it is given.

For the simulation and for tests. It ends guests by calling ``kill_managed``, at the same instant at which the real
guard begins to, and goes on doing so while expired. Its host's power is its life: ``stop`` is a power cut, after which
nothing it promised happens any more (and every call fails), and a host that comes back has a new one.
"""

import asyncio
import contextvars
from collections.abc import Callable, Collection
from dataclasses import replace

from vmha.fencing.deadline import EXPIRED, Deadline, Outcome, State, Verdict
from vmha.fencing.guard_keeper import SCAN_EVERY_S
from vmha.fencing.port import GuardStatus, GuardUnavailable, Killed, KillRecord, Level, refusal
from vmha.model.clock import Clock
from vmha.model.errors import Broken
from vmha.model.ids import SessionId


class SimulatedGuard:
    """One host's guard.

    Args:
        kill_managed: ends every managed guest of the host at once and returns those it ended.
        list_managed: names of the managed guests that run on the host; without it none counts as left.
        watchdog_s: the timeout of the host's watchdog in seconds; 0: it has none.
        context: whose process the counting task is; without it, that of whoever arms the guard.
    """

    def __init__(
        self,
        clock: Clock,
        kill_managed: Callable[[], Collection[Killed]],
        *,
        list_managed: Callable[[], Collection[str]] = tuple,
        watchdog_s: int = 0,
        context: contextvars.Context | None = None,
    ) -> None:
        self._clock = clock
        self._kill_managed = kill_managed
        self._list_managed = list_managed
        self.told: frozenset[str] = frozenset()
        """Guests that are managed whatever their metadata says, as the agent said last."""
        self._watchdog_s = watchdog_s
        self._wanted_watchdog_s = 0
        self._deadline = Deadline()
        self._committed_at = 0.0
        self._last_kill: KillRecord | None = None
        self._context = context
        self._is_stopped = self._is_down = False
        self._gone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """The host lost its power."""
        self._is_stopped = True
        self._gone.set()
        if self._task:
            self._task.cancel()

    def crash(self) -> None:
        """Its process is killed. What it has to know again is in its file."""
        self._is_down = True
        self._gone.set()
        if self._task:
            self._task.cancel()

    def restart(self) -> None:
        """A new process reads the file and goes on counting."""
        if self._is_down and not self._is_stopped:
            self._is_down = False
            self._gone.clear()
            self._tick()
            self._count()

    @property
    def petted_watchdog_s(self) -> int:
        """The timeout of the watchdog that this guard keeps from firing, in seconds; 0: it pets none."""
        return 0 if self._is_stopped or self._is_down else self._status().watchdog_s

    @property
    def state(self) -> State:
        """By its file, which outlives its process."""
        return self._deadline.tick(self._clock.now()).state

    async def arm(
        self,
        session: SessionId,
        *,
        hold_s: float,
        kill_lead_s: float,
        sent_at: float,
        committed_at: float | None = None,
        watchdog_s: int = 0,
        managed: Collection[str] | None = None,
        timeout_s: float = 0.5,
    ) -> GuardStatus:
        """See ``Guard.arm``."""
        here = self._catch_up()
        outcome = here.arm(
            session,
            hold_s=hold_s,
            kill_lead_s=kill_lead_s,
            sent_at=sent_at,
            now=self._clock.now(),
            guests_left=len(self._list_managed()),
        )
        if outcome.verdict is Verdict.OK:
            self._wanted_watchdog_s = watchdog_s
            self._hear_of(managed)
            self._committed_at = sent_at if committed_at is None else committed_at
        return self._settle(outcome)

    async def beat(
        self,
        session: SessionId,
        *,
        sent_at: float,
        committed_at: float | None = None,
        managed: Collection[str] | None = None,
        timeout_s: float = 0.5,
    ) -> GuardStatus:
        """See ``Guard.beat``."""
        outcome = self._catch_up().beat(session, sent_at=sent_at, now=self._clock.now())
        if outcome.verdict is Verdict.OK:
            self._committed_at = max(self._committed_at, sent_at if committed_at is None else committed_at)
            self._hear_of(managed)
        return self._settle(outcome)

    def _hear_of(self, managed: Collection[str] | None) -> None:
        if managed is not None:
            self.told = frozenset(managed)

    async def expire(self, session: SessionId, *, cause: str, timeout_s: float = 0.5) -> GuardStatus:
        """See ``Guard.expire``."""
        return self._settle(self._catch_up().expire(session, cause=cause, now=self._clock.now()))

    async def disarm(self, session: SessionId, *, timeout_s: float = 0.5) -> GuardStatus:
        """See ``Guard.disarm``."""
        left = len(self._list_managed())
        return self._settle(self._catch_up().disarm(session, guests_left=left, now=self._clock.now()))

    async def status(self, *, timeout_s: float = 0.5) -> GuardStatus:
        """See ``Guard.status``."""
        self._catch_up()
        return self._status()

    async def gone(self) -> None:
        """See ``Guard.gone``."""
        await self._gone.wait()

    def _catch_up(self) -> Deadline:
        if self._is_stopped:
            raise GuardUnavailable("the host of this guard is off")
        if self._is_down:
            raise GuardUnavailable("the guard does not answer")
        if self._task and self._task.done() and not self._task.cancelled() and (error := self._task.exception()):
            raise Broken("the simulated guard failed") from error
        self._tick()
        return self._deadline

    def _settle(self, outcome: Outcome) -> GuardStatus:
        self._deadline = outcome.deadline
        self._tick()
        self._count()
        if outcome.verdict is not Verdict.OK:
            raise refusal(outcome.verdict, f"the guard says: {outcome.words}")
        return self._status()

    def _count(self) -> None:
        is_counting = self._task is not None and not self._task.done() and not self._task.cancelling()
        if self._deadline.state is not State.IDLE and not is_counting:
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._watch(), name="simulated guard", context=self._context)

    async def _watch(self) -> None:
        while self._deadline.state is not State.IDLE:
            wake_at = self._deadline.wake_at
            # A beat may come while this sleeps: it then wakes too early, looks, and sleeps on. A millisecond at least:
            # a rest lost in rounding would not move a virtual clock, and this would turn for ever.
            await asyncio.sleep(SCAN_EVERY_S if wake_at is None else max(0.001, wake_at - self._clock.now()))
            self._tick()

    def _tick(self) -> None:
        now = self._clock.now()
        self._deadline = self._deadline.tick(now)
        if self._deadline.state not in EXPIRED:
            return
        ended = sorted(self._kill_managed(), key=lambda killed: killed.name)
        before = self._last_kill
        if before is None or before.begun_at != self._deadline.expired_at:
            before = KillRecord(
                session=self._deadline.session,
                cause=self._deadline.cause,
                begun_at=now if self._deadline.expired_at is None else self._deadline.expired_at,
                begun_wall=self._clock.wall(),
                verified_at=now,
            )
        if ended:
            before = replace(before, guests=(*before.guests, *ended), verified_at=now)
        self._last_kill = before
        self._deadline = self._deadline.guests_gone(now)

    def _status(self) -> GuardStatus:
        deadline = self._deadline
        is_timed = deadline.state is not State.IDLE
        has_watchdog = is_timed and 0 < self._watchdog_s <= self._wanted_watchdog_s
        level = Level.WATCHDOG if has_watchdog else Level.GUARD
        return GuardStatus(
            state=deadline.state,
            level=level if is_timed else Level.NONE,
            session=SessionId(deadline.session) if is_timed else None,
            cause=deadline.cause,
            deadline=deadline.deadline if is_timed else None,
            kill_at=deadline.kill_at if is_timed else None,
            committed_at=self._committed_at if is_timed else None,
            watchdog_s=self._watchdog_s if has_watchdog else 0,
            guests=tuple(sorted(self._list_managed())),
            last_kill=self._last_kill,
        )
