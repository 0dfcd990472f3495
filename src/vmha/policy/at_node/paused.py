"""What is done about a guest that stands still under our claim, by the reason. Pure: the standing and the instant in.

Only these reasons are ever acted on: a user's pause, an I/O error, a watchdog, a QEMU that answers nothing, and a pause
of vmha's own after which its source has said that the guest had left it. What is on its way in or out, what a migration
has left, a save or a dump under way, a second copy: none of these is a guest that merely stands still, and whoever
decides here is asked of none of them (``reconcile``). Nor is one that somebody runs on another node as well.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from vmha.model.ids import NodeName, SessionId
from vmha.model.records import Phase, Placement, SeenState
from vmha.model.standing import OnIoError, OnPause, OnTrouble
from vmha.policy.state.snapshot import Snapshot, VmView

USER, IO_ERROR, WATCHDOG, HUNG = "user", "ioerror", "watchdog", "hung"
ASIDE = "aside"
"""This node's agent has paused it: its source still showed it running, and may have spoken of the past."""
LONGEST_REST_S = 30.0
CALM_S = 60.0
"""A guest that has run for so long has got over it."""


class Deed(StrEnum):
    NOTHING = "nothing"
    RESUME = "resume"
    END = "end"  # so that it is recovered as if it had crashed


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """``since``: when the trouble began; ``tries`` to resume it since then; ``seen``: when it last stood still."""

    reason: str
    since: float
    seen: float
    tries: int = 0
    tried_at: float = 0.0

    def tried(self, now: float) -> "Standing":
        return replace(self, tries=self.tries + 1, tried_at=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """``wait_s``: when to ask again, though nothing changes. ``leaves``: this node is to rest before the next try."""

    deed: Deed = Deed.NOTHING
    wait_s: float | None = None
    why: str = ""
    leaves: bool = False


def is_ours_alone(
    vm: VmView | None, placement: Placement | None, me: NodeName, session: SessionId, snapshot: Snapshot
) -> bool:
    """It is held here, and nobody else shows it running: resumed beside such a one it would run twice."""
    if vm is None or placement is None or placement.phase is not Phase.HELD:
        return False
    runs_elsewhere = any(o.state is SeenState.RUNNING and o.node != me for o in snapshot.observations(vm))
    return (placement.node, placement.session) == (me, session) and not runs_elsewhere


def react(policy: OnPause, standing: Standing, now: float, *, no_kill: bool, came_by_hand: bool = False) -> Reaction:
    """A vm with ``no_kill`` is never ended for this.

    ``came_by_hand``: its former holder has said that it left by migration. What was set aside is the rightful one then;
    where that holder had ended otherwise, it had run beside this one, whose memory is older than the disk.
    """
    match standing.reason:
        case "aside" if came_by_hand:
            return _resume(standing, now, "it was paused as one too many, and is the only one", at_once=True)
        case "user" if policy.user is OnTrouble.RESTART:
            return _end("somebody had paused it, and on_pause says restart", no_kill=no_kill)
        case "watchdog" if policy.watchdog is OnTrouble.RESTART:
            return _end("its watchdog had paused it", no_kill=no_kill)
        case "ioerror":
            return _after_io_error(policy, standing, now, no_kill=no_kill)
        case "hung" if policy.hung is OnTrouble.RESTART:
            left_s = standing.since + policy.hung_restart_after_s - now
            why = f"its QEMU has answered nothing for {policy.hung_restart_after_s:g} s"
            return Reaction(wait_s=left_s) if left_s > 0 else _end(why, no_kill=no_kill)
    return Reaction()


def _after_io_error(policy: OnPause, standing: Standing, now: float, *, no_kill: bool) -> Reaction:
    match policy.io_error:
        case OnIoError.KEEP:
            return Reaction()
        case OnIoError.RESTART:
            return _end("its disk failed", no_kill=no_kill)
        case OnIoError.RELOCATE:
            return _end("its disk failed here", no_kill=no_kill, leaves=True)
    patience_s = policy.io_error_relocate_after_s
    if patience_s and now - standing.since >= patience_s and not no_kill:
        return _end(f"its disk has been failing here for {patience_s:g} s", no_kill=False, leaves=True)
    return _resume(standing, now, "its disk had failed")


def _resume(standing: Standing, now: float, why: str, *, at_once: bool = False) -> Reaction:
    """Again and again, ever more seldom."""
    began = standing.tried_at if standing.tries else standing.since
    wait_s = 0.0 if at_once and not standing.tries else began + min(LONGEST_REST_S, 2.0**standing.tries) - now
    return Reaction(wait_s=wait_s) if wait_s > 0 else Reaction(deed=Deed.RESUME, why=why)


def _end(why: str, *, no_kill: bool, leaves: bool = False) -> Reaction:
    return Reaction() if no_kill else Reaction(deed=Deed.END, why=why, leaves=leaves)


def in_words(policy: OnPause, reason: str) -> str:
    """Why it stands still, and what will be done."""
    match reason:
        case "user":
            return f"somebody has paused it (on_pause.user: {policy.user})"
        case "watchdog":
            return f"its watchdog has paused it (on_pause.watchdog: {policy.watchdog})"
        case "ioerror":
            return f"its disk failed (on_pause.io_error: {policy.io_error})"
        case "hung":
            return f"its QEMU answers nothing: it was stopped, or is stuck (on_pause.hung: {policy.hung})"
    return f"it stands still: {reason}" if reason else "it stands still"
