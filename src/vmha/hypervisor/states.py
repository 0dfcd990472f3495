"""What a libvirt state means for vmha. Pure: numbers, the tag's mark and what is known of a job in, a state out.

libvirt shows a guest that is migrating as ``PAUSED/migration`` on both sides, and one that arrived with
VIR_MIGRATE_PAUSED as ``PAUSED/user``, which is also what an operator's suspend looks like. Three things tell them
apart, and all three survive a restart of the agent and of libvirtd:

* Our own migrations put a **mark** into the tag that the target carries from its first moment on (by the destination
  XML; the source never has it). ``PAUSED/user`` with the mark is ARRIVED: libvirt changes the target's reason from
  "migration" to "user" only in its Finish step, when all memory has come and the source has said so. ``resume`` takes
  the mark off; an inventory that finds a running guest with the mark (an agent died in between) has it taken off too.
* ``PAUSED/migration`` with the mark is INCOMING, always.
* ``PAUSED/migration`` without the mark is a hand-made migration, or ours at the source. Asked for the statistics of
  its job, libvirt refuses on the target ("available only on the source host"): INCOMING. It answers on the source:
  OUTGOING, with a job (last phase) or without (left over by a failure). No answer: INCOMING, the reading that resumes
  nothing.

A **second copy** that was paused as such has a mark of its own, which stays: it ends with the tag or with the QEMU, and
says nothing about where a migration stands. A vmha of before takes it for a guest that arrived, and never resumes it.

What came by a hand's migration, and was paused because its source still showed it running, is **aside**: marked so
after it was paused, because that is no user's pause if it turns out to be the rightful one. The mark ends when it runs.

A guest that a user had paused before it migrated carries the mark as "paused": it arrives like any other, and ending
its hand-over leaves it paused, as the user left it.
"""

from enum import IntEnum, StrEnum

from vmha.hypervisor.port import DomainState


class Mark(StrEnum):
    """The tag's ``handover``: how a guest that was migrated by us with ``paused_at_target`` is to be let go.

    Or, in the same place, that it never is: a second copy.
    """

    NONE = ""
    STANDING = "standing"  # resume it
    PAUSED = "paused"  # it was paused before it left: leave it so
    SECOND = "second"  # no hand-over: it ran while the rightful one did, and was paused for that
    ASIDE = "aside"  # nor is this: it was paused because the rightful one may run, which may be this one

    @property
    def ends_when_it_runs(self) -> bool:
        return self.is_handover or self is Mark.ASIDE

    @property
    def is_handover(self) -> bool:
        return self in (Mark.STANDING, Mark.PAUSED)


class Job(StrEnum):
    """What libvirt said when asked for a domain's job."""

    NOT_ASKED = "not asked"
    NONE = "none"
    MIGRATING_OUT = "migrating out"
    INCOMING = "incoming"
    UNKNOWN = "unknown"  # asked, no answer


class RawState(IntEnum):
    """libvirt's VIR_DOMAIN_*."""

    NOSTATE = 0
    RUNNING = 1
    BLOCKED = 2
    PAUSED = 3
    SHUTDOWN = 4
    SHUTOFF = 5
    CRASHED = 6
    PMSUSPENDED = 7


class Paused(IntEnum):
    """libvirt's VIR_DOMAIN_PAUSED_*."""

    UNKNOWN = 0
    USER = 1
    MIGRATION = 2
    SAVE = 3
    DUMP = 4
    IOERROR = 5
    WATCHDOG = 6
    FROM_SNAPSHOT = 7
    SHUTTING_DOWN = 8
    SNAPSHOT = 9
    CRASHED = 10
    STARTING_UP = 11
    POSTCOPY = 12
    POSTCOPY_FAILED = 13
    API_ERROR = 14  # libvirt could not let it go on after a migration, save or snapshot that failed (since 9.2)


class Running(IntEnum):
    """libvirt's VIR_DOMAIN_RUNNING_*."""

    UNKNOWN = 0
    BOOTED = 1
    MIGRATED = 2
    RESTORED = 3
    FROM_SNAPSHOT = 4
    UNPAUSED = 5
    MIGRATION_CANCELED = 6
    SAVE_CANCELED = 7
    WAKEUP = 8
    CRASHED = 9
    POSTCOPY = 10
    POSTCOPY_FAILED = 11


class Shutoff(IntEnum):
    """libvirt's VIR_DOMAIN_SHUTOFF_*."""

    UNKNOWN = 0
    SHUTDOWN = 1
    DESTROYED = 2
    CRASHED = 3
    MIGRATED = 4
    SAVED = 5
    FAILED = 6
    FROM_SNAPSHOT = 7
    DAEMON = 8


_REASONS: dict[int, type[IntEnum]] = {
    RawState.RUNNING: Running,
    RawState.PAUSED: Paused,
    RawState.SHUTOFF: Shutoff,
}


def needs_job(state: int, reason: int, mark: Mark) -> bool:
    """Whether only the domain's job can tell an arriving guest from a leaving one, or one that is left over."""
    if state != RawState.PAUSED:
        return False
    # By post-copy it is the source, and whether its memory is still being pulled is what its job says.
    return has_switched(state, reason) or (not mark.is_handover and reason == Paused.MIGRATION)


def has_switched(state: int, reason: int) -> bool:
    """Whether this is the source of a post-copy migration whose guest goes on, or went on, at its target."""
    return state == RawState.PAUSED and reason in (Paused.POSTCOPY, Paused.POSTCOPY_FAILED)


def is_broken_half(state: int, reason: int) -> bool:
    """Whether post-copy broke: neither side has all of the memory. libvirt keeps the job, for a recovery by hand."""
    return (state, reason) in ((RawState.PAUSED, Paused.POSTCOPY_FAILED), (RawState.RUNNING, Running.POSTCOPY_FAILED))


def is_finished_handover(state: int, mark: Mark) -> bool:
    """Whether the mark outlived its hand-over, so that a later pause would be taken for an arrival; or what it was set
    aside for.
    """
    return state in (RawState.RUNNING, RawState.BLOCKED) and mark.ends_when_it_runs


def classify(state: int, reason: int, *, mark: Mark, job: Job, seen_arriving: bool) -> DomainState:
    """The state of a domain; see the module's text for the hard cases."""
    match state:
        case RawState.RUNNING if reason == Running.POSTCOPY_FAILED:
            return DomainState.CRASHED  # until it touches memory that never comes
        case RawState.RUNNING | RawState.BLOCKED:
            return DomainState.RUNNING
        case RawState.PAUSED:
            return _classify_paused(reason, mark=mark, job=job, seen_arriving=seen_arriving)
        case RawState.SHUTDOWN:
            return DomainState.SHUTTING_DOWN
        case RawState.SHUTOFF:
            return DomainState.SHUTOFF
        case RawState.CRASHED:
            return DomainState.CRASHED
    return DomainState.PAUSED  # suspended by the guest's power management, or a state of a later libvirt


def _classify_paused(reason: int, *, mark: Mark, job: Job, seen_arriving: bool) -> DomainState:
    match reason:
        case Paused.MIGRATION | Paused.STARTING_UP if mark.is_handover:
            return DomainState.INCOMING
        case Paused.MIGRATION:
            is_outgoing = job in (Job.NONE, Job.MIGRATING_OUT) and not seen_arriving
            return DomainState.OUTGOING if is_outgoing else DomainState.INCOMING
        case Paused.POSTCOPY | Paused.POSTCOPY_FAILED:
            return DomainState.OUTGOING  # its memory is at the target, in part or in whole
        case Paused.USER if mark.is_handover:
            return DomainState.ARRIVED
        case Paused.SHUTTING_DOWN:
            return DomainState.SHUTTING_DOWN
        case Paused.CRASHED:
            return DomainState.CRASHED
    return DomainState.PAUSED


def reason_word(state: int, reason: int) -> str:
    """libvirt's reason in its own word, e.g. ``ioerror``."""
    match state:
        case RawState.PMSUSPENDED:
            return "pmsuspended"
        case RawState.NOSTATE:
            return "nostate"
        case RawState.CRASHED:
            return "panicked"
    words = _REASONS.get(state)
    try:
        return words(reason).name.lower() if words is not None else ""
    except ValueError:
        return f"reason {reason}"
