"""When a node's guests must end: the guard's state machine, pure, one for the real guard and for the simulated one.

Promise: a session that has not committed a beat for ``hold_s`` is expired, and stays expired whatever is said later.
The deadline counts from the *send* time of the last committed beat, because whoever waits for this node's silence
can have seen that beat committed no earlier than it was sent. The killing begins ``kill_lead_s`` before the deadline,
so that it is over when the deadline comes.

    +------+  arm                       +-------+ <--+
    | idle | -------------------------> | armed |    | beat, arm (same session)
    +------+ <------------------------- +-------+ ---+
               disarm, no guests left     |    ^
                                          |    | arm (another session), no guests left
       tick at deadline - kill_lead, or   |    |
       expire (the session was evicted)   v    |
                      +-----------------+     +---------------+
                      | expired_killing | --> | expired_clean |
                      +-----------------+ <-- +---------------+
                         guests verified gone / a guest appeared

It does not look at processes, files or clocks: the caller says what it saw and when. All instants are seconds on
CLOCK_BOOTTIME of this boot, which goes on while the machine is suspended.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    """Where the guard stands; drawn above."""

    IDLE = "idle"
    ARMED = "armed"
    EXPIRED_KILLING = "expired_killing"
    EXPIRED_CLEAN = "expired_clean"


EXPIRED = frozenset({State.EXPIRED_KILLING, State.EXPIRED_CLEAN})


class Verdict(StrEnum):
    """What became of a command. Only OK changed what was asked for."""

    OK = "ok"
    EXPIRED = "expired"
    UNKNOWN_SESSION = "unknown_session"
    FROM_THE_FUTURE = "from_the_future"
    GUESTS_LEFT = "guests_left"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """One reading of the guard. Every method returns a new one and leaves this one as it is."""

    state: State = State.IDLE
    session: str = ""
    hold_s: float = 0.0
    kill_lead_s: float = 0.0
    sent_at: float = 0.0
    cause: str = ""  # why it expired, in words
    expired_at: float | None = None
    clean_at: float | None = None

    @property
    def deadline(self) -> float:
        """When the managed guests must have ended."""
        return self.sent_at + self.hold_s

    @property
    def kill_at(self) -> float:
        """When the killing begins."""
        return self.deadline - self.kill_lead_s

    @property
    def wake_at(self) -> float | None:
        """When ``tick`` will change something by the passing of time alone; None: never."""
        return self.kill_at if self.state is State.ARMED else None

    def tick(self, now: float) -> "Deadline":
        """Let time pass."""
        if self.state is not State.ARMED or now < self.kill_at:
            return self
        return self._expire(f"no beat committed since {now - self.sent_at:.1f} s (hold {self.hold_s:g} s)", now)

    def arm(
        self, session: str, *, hold_s: float, kill_lead_s: float, sent_at: float, now: float, guests_left: int = 0
    ) -> "Outcome":
        """Begin a session, or take up the armed one again (a restarted agent does, possibly with new settings).

        Args:
            sent_at: when the transaction was sent that made the session, or its last committed beat.
            guests_left: managed guests that run now. Those of an armed session would outlive that session's deadline
                if another one could simply take its place, while the cluster still counts the old one's silence.
        """
        here = self.tick(now)
        if not session or not _are_times(hold_s, kill_lead_s, sent_at) or not 0 <= kill_lead_s < hold_s:
            words = "arm needs a session, times that are numbers, and 0 <= kill_lead_s < hold_s"
            return Outcome(here, Verdict.INVALID, words)
        if sent_at > now:
            return Outcome(here, Verdict.FROM_THE_FUTURE, _future(sent_at, now))
        if session == here.session and here.state in EXPIRED:
            return here._is_expired()
        if session == here.session and here.state is State.ARMED:
            sent_at = max(sent_at, here.sent_at)
            renewed = replace(here, hold_s=hold_s, kill_lead_s=kill_lead_s, sent_at=sent_at).tick(now)
            return Outcome(renewed, Verdict.OK) if renewed.state is State.ARMED else renewed._is_expired()
        if here.state is State.EXPIRED_KILLING:
            words = f"guests of the expired session {here.session} are not verified gone yet"
            return Outcome(here, Verdict.GUESTS_LEFT, words)
        if here.state is not State.IDLE and guests_left:
            words = f"{guests_left} guests of session {here.session} run: take it up again, or expire it"
            return Outcome(here, Verdict.GUESTS_LEFT, words)
        armed = Deadline(state=State.ARMED, session=session, hold_s=hold_s, kill_lead_s=kill_lead_s, sent_at=sent_at)
        if now >= armed.kill_at:
            words = f"the beat was sent {now - sent_at:.1f} s ago, too long for a hold of {hold_s:g} s: nothing armed"
            return Outcome(here, Verdict.EXPIRED, words)
        return Outcome(armed, Verdict.OK)

    def beat(self, session: str, *, sent_at: float, now: float) -> "Outcome":
        """A beat of ``session``, sent at ``sent_at``, was committed. One older than the last known changes nothing."""
        here = self.tick(now)
        if not _are_times(sent_at):
            return Outcome(here, Verdict.INVALID, "beat needs a send time that is a number")
        if here.state is State.IDLE or session != here.session:
            return here._is_unknown(session)
        if here.state in EXPIRED:
            return here._is_expired()
        if sent_at > now:
            return Outcome(here, Verdict.FROM_THE_FUTURE, _future(sent_at, now))
        return Outcome(here if sent_at <= here.sent_at else replace(here, sent_at=sent_at), Verdict.OK)

    def expire(self, session: str, *, cause: str, now: float) -> "Outcome":
        """End ``session`` before its time: it was evicted, so its guests may already run elsewhere."""
        here = self.tick(now)
        if here.state is State.IDLE or session != here.session:
            return here._is_unknown(session)
        return Outcome(here if here.state in EXPIRED else here._expire(cause, now), Verdict.OK)

    def disarm(self, session: str, *, guests_left: int, now: float) -> "Outcome":
        """End ``session`` in good order. Refused while guests run; an expired session stays expired."""
        here = self.tick(now)
        if here.state is State.IDLE:
            return Outcome(here, Verdict.OK)
        if session != here.session:
            return here._is_unknown(session)
        if here.state in EXPIRED:
            return here._is_expired()
        if guests_left:
            return Outcome(here, Verdict.GUESTS_LEFT, f"{guests_left} managed guests run on this node")
        return Outcome(Deadline(), Verdict.OK)

    def guests_gone(self, now: float) -> "Deadline":
        """All managed guests are verified gone."""
        if self.state is not State.EXPIRED_KILLING:
            return self
        return replace(self, state=State.EXPIRED_CLEAN, clean_at=now)

    def guest_appeared(self) -> "Deadline":
        """A managed guest runs, or it can not be told that none does."""
        if self.state is not State.EXPIRED_CLEAN:
            return self
        return replace(self, state=State.EXPIRED_KILLING, clean_at=None)

    def _expire(self, cause: str, now: float) -> "Deadline":
        return replace(self, state=State.EXPIRED_KILLING, cause=cause, expired_at=now, clean_at=None)

    def _is_expired(self) -> "Outcome":
        return Outcome(self, Verdict.EXPIRED, f"session {self.session} is expired: {self.cause}")

    def _is_unknown(self, session: str) -> "Outcome":
        held = f"the session here is {self.session}" if self.session else "no session is armed"
        return Outcome(self, Verdict.UNKNOWN_SESSION, f"session {session} is not armed here: {held}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The guard after a command, and what became of the command."""

    deadline: Deadline
    verdict: Verdict
    words: str = ""


def _are_times(*values: float) -> bool:
    return all(math.isfinite(value) and value >= 0 for value in values)


def _future(sent_at: float, now: float) -> str:
    return f"sent_at is {sent_at - now:.3f} s in the future: not this boot's CLOCK_BOOTTIME"
