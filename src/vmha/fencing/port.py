"""What vmha needs of a node's self-fence.

Two adapters on one state machine (``deadline``): ``guard_client.GuardClient`` talks to the guard process,
``simulated.SimulatedGuard`` is one on virtual time. Every call returns or raises within its ``timeout_s``.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from vmha.fencing.deadline import State, Verdict
from vmha.fencing.guard_state import Killed, KillRecord
from vmha.model.errors import Refused, Rejected, Retryable
from vmha.model.ids import SessionId

__all__ = [
    "Check",
    "Guard",
    "GuardRefused",
    "GuardRejected",
    "GuardStatus",
    "GuardUnavailable",
    "KillRecord",
    "Killed",
    "Level",
    "SessionExpired",
    "State",
    "Verdict",
]


class GuardUnavailable(Retryable):
    """The guard did not answer. Its deadline runs on: what it was told last still holds."""


class SessionExpired(Refused):
    """The guard has ended, or is ending, this session's guests. Only a new session can be armed."""


class GuardRefused(Refused):
    """Not now: the session is not the armed one, or managed guests run. ``verdict`` says which."""

    def __init__(self, message: str, *, verdict: Verdict) -> None:
        super().__init__(message)
        self.verdict = verdict


class GuardRejected(Rejected):
    """The request makes no sense to the guard, or it can not keep what it asks for."""


class Level(StrEnum):
    """What the self-fence promises now."""

    NONE = "none"  # nothing: not armed, or its self-test failed
    GUARD = "guard"  # the guard ends the guests at the deadline
    WATCHDOG = "watchdog"  # and if it can not, the host is reset


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One part of the self-test or of the hardening. ``outcome`` is "ok" or says why not."""

    name: str
    outcome: str

    @property
    def is_ok(self) -> bool:
        return self.outcome == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardStatus:
    """The guard at one instant. Instants are seconds on the node's CLOCK_BOOTTIME; None where there is none.

    Attributes:
        deadline: when the guests must have ended; the killing begins at ``kill_at``, a little earlier.
        committed_at: when the last beat was sent that is in the store; None: an older guard, which does not tell.
        watchdog_s: the timeout that the device really has, 0 unless ``level`` is WATCHDOG.
        watchdog_note: why there is no watchdog, or what is wrong with it.
        guests: names of the managed guests that the guard itself last saw running.
        unclear: what kept it from being sure about the rest.
        last_kill: what was ended at the last expiry, and whether that is verified.
        hardening: measures that may be forbidden to it here; none is needed.
    """

    state: State
    level: Level
    session: SessionId | None = None
    cause: str = ""
    deadline: float | None = None
    kill_at: float | None = None
    committed_at: float | None = None
    watchdog_s: int = 0
    watchdog_note: str = ""
    guests: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    last_kill: KillRecord | None = None
    self_test: tuple[Check, ...] = ()
    hardening: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()


class Guard(Protocol):
    """The port. ``managed`` is the whole list of uuids (or names) of the vms this node holds or is starting; None
    leaves the list as it was.
    """

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
        """Begin a session, or take up the armed one again.

        Args:
            hold_s: how long guests may run after the last committed beat was sent.
            kill_lead_s: how long before that the killing begins.
            sent_at: when the transaction that made the session (or its last committed beat) was sent.
            committed_at: that, where ``sent_at`` is a later promise of the peers (see ``beat``).
            watchdog_s: the watchdog's timeout in seconds; 0: none wanted.

        Raises:
            SessionExpired: this session is expired, or its last beat is too old.
            GuardRefused: guests of another session run (GUESTS_LEFT), or ``sent_at`` is in the future.
            GuardRejected, GuardUnavailable
        """

    async def beat(
        self,
        session: SessionId,
        *,
        sent_at: float,
        committed_at: float | None = None,
        managed: Collection[str] | None = None,
        timeout_s: float = 0.5,
    ) -> GuardStatus:
        """A beat sent at ``sent_at`` was committed, or all peers promised what they were asked then.

        The deadline counts from there either way. ``committed_at`` is when the last committed beat was sent (None: at
        ``sent_at``): the next process of the agent holds it against what the store says.

        Raises:
            SessionExpired: it came too late.
            GuardRefused: another session, or none, is armed (UNKNOWN_SESSION); ``sent_at`` is in the future.
            GuardRejected, GuardUnavailable
        """

    async def expire(self, session: SessionId, *, cause: str, timeout_s: float = 0.5) -> GuardStatus:
        """End the session's guests now: it was evicted, so they may already run elsewhere. Returns when it has begun.

        Raises:
            GuardRefused, GuardUnavailable
        """

    async def disarm(self, session: SessionId, *, timeout_s: float = 0.5) -> GuardStatus:
        """End the session in good order.

        Raises:
            GuardRefused: managed guests run (GUESTS_LEFT), or another session is armed.
            SessionExpired, GuardUnavailable
        """

    async def status(self, *, timeout_s: float = 0.5) -> GuardStatus:
        """The guard as it is.

        Raises:
            GuardUnavailable
        """

    async def gone(self) -> None:
        """Return as soon as no guard answers: at once when its process ends, within about 2 s when it hangs."""


def refusal(verdict: Verdict, message: str) -> Refused | Rejected:
    """The error for a verdict that is not OK."""
    match verdict:
        case Verdict.EXPIRED:
            return SessionExpired(message)
        case Verdict.INVALID:
            return GuardRejected(message)
        case _:
            return GuardRefused(message, verdict=verdict)
