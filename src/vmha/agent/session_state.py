"""What one session of this node is, while it lasts: the numbers that its keeper, its guard and its peers count with."""

import asyncio
from dataclasses import dataclass, field

from vmha.fencing.port import GuardStatus, Level, State
from vmha.model.ids import LeaseId, Revision, SessionId
from vmha.model.records import ArmedLevel, BeatRecord
from vmha.model.settings import Timing
from vmha.policy.members.failsafe import Terms
from vmha.store.bell import Bell
from vmha.store.port import KeyValue

_SHORTEST_BEAT_S = 0.1
"""A store that is well answers sooner."""


@dataclass(slots=True, kw_only=True)
class Session:
    """One session while it lasts. ``over`` is set once, with the reason.

    Attributes:
        sent_at: when the last committed beat was sent.
        promised_at: when the last question was sent that all peers answered with yes.
        said: the terms of the last committed beat, and of all that were sent since; empty: it is not known.
        began_at: when this process began the session; a resumed one was begun by another.
    """

    id: SessionId
    beat_created: Revision
    beat_modified: Revision
    count: int
    sent_at: float
    timing: Timing
    live_since: float
    promised_at: float = float("-inf")
    said: list[Terms] = field(default_factory=list)
    began_at: float = float("-inf")
    resumed: bool = False
    lease: LeaseId | None = None
    lease_ttl_s: int = 0
    lease_renewed_at: float = float("-inf")  # when the last renewal that was acknowledged was sent
    guard: GuardStatus | None = None
    armed_with: Timing | None = None  # what the guard counts with
    hurry: Bell = field(default_factory=Bell)  # a beat is due before its time
    over: asyncio.Event = field(default_factory=asyncio.Event)
    why_over: str = ""

    @property
    def held_at(self) -> float:
        """The guests may run until ``hold_s`` after this."""
        return max(self.sent_at, self.promised_at)

    @property
    def armed(self) -> ArmedLevel:
        return _LEVELS[self.guard.level] if self.guard and self.guard.state is State.ARMED else ArmedLevel.NONE

    def end(self, why: str) -> None:
        if not self.over.is_set():
            self.why_over = why
            self.over.set()


_LEVELS = {Level.NONE: ArmedLevel.NONE, Level.GUARD: ArmedLevel.GUARD, Level.WATCHDOG: ArmedLevel.WATCHDOG}


@dataclass(slots=True)
class BeatCount:
    """Since this process began."""

    committed: int = 0
    failed: int = 0

    def note(self, committed: bool) -> bool:
        self.committed += committed
        self.failed += not committed
        return committed


def beat_timeout_s(timing: Timing, left_s: float) -> float:
    """How long the answer to a beat is waited for, in seconds; ``left_s`` is what is left of the hold.

    A frozen member of the store is left long before (by the store's own patience), so this is about a store that is
    slow. A beat extends the hold from when it was *sent*. One that takes a third of the hold is followed by another
    that may take as long, before the guard acts; one that takes longer comes too late to be of use.
    """
    return max(_SHORTEST_BEAT_S, min(max(1.0, timing.beat_s, timing.hold_s / 3), left_s))


def taken_up(known: KeyValue, beat: BeatRecord, status: GuardStatus, timing: Timing, now: float) -> Session:
    """This process is new, its session is not: no guest notices.

    It goes on with the times that the last beat promised and the guard counts with; new settings come after.
    """
    assert status.deadline is not None
    held_at = status.deadline - beat.hold_s
    committed_at = held_at if status.committed_at is None else min(status.committed_at, held_at)
    promised = {"hold_s": beat.hold_s, "margin_s": beat.dead_after_s - beat.hold_s}
    return Session(
        id=beat.session,
        beat_created=known.create_revision,
        beat_modified=known.mod_revision,
        count=beat.count,
        sent_at=committed_at,
        promised_at=held_at if held_at > committed_at else float("-inf"),
        timing=timing.model_copy(update=promised),
        live_since=now,
        resumed=True,
        guard=status,
    )


def guarded_only(status: GuardStatus, timing: Timing, now: float) -> Session | None:
    """A session that the guard counts, as far as it can be told without its beat; None when it counts none."""
    if status.state is not State.ARMED or not status.session or status.deadline is None:
        return None
    return Session(
        id=status.session,
        beat_created=Revision(0),
        beat_modified=Revision(0),
        count=1,
        sent_at=status.deadline - timing.hold_s,
        timing=timing,
        live_since=now,
        resumed=True,
        guard=status,
    )
