"""Every way in which a placement may change, in one place. The table is drawn in ``model.records``.

Who writes it: the leader (assign, adopt, withdraw, ask_stop, ask_migration, cancel, forget_holder, let_go, note) and
the agent that holds the vm (claim, call, release, switch, hand_over, measured, keep, note_leaving, depart). Both
compare the record's revision: of two changes decided on the same reading one loses, and is decided again.
"""

from dataclasses import dataclass, replace

from vmha.model.ids import Epoch, NodeName, RequestId, Revision, SessionId, VmName
from vmha.model.migration import Moved
from vmha.model.records import Failure, Phase, Placement, Reason, RunEnd, SavedImage
from vmha.model.restart import GuestDeed
from vmha.model.vm import MigrationStyle

REMEMBERED_FAILURES = 16
ENDINGS_COUNT_FOR_S = 600.0
CLOCKS_DIFFER_S = 30.0
UNASKED = (RunEnd.CRASHED, RunEnd.GUEST_SHUTDOWN, RunEnd.DESTROYED)


def _next_epoch(previous: Placement | None) -> Epoch:
    return Epoch((_last_granted(previous) if previous else 0) + 1)


def _last_granted(placement: Placement) -> Epoch:
    """The highest epoch that a guest may run under: from the switch of a post-copy on the target's has the next one."""
    return Epoch(placement.epoch + 1) if placement.switched else placement.epoch


def assign(
    vm: VmName,
    previous: Placement | None,
    node: NodeName,
    reason: Reason,
    wall: float,
    *,
    operation: RequestId | None = None,
    restarts: tuple[float, ...] = (),
) -> Placement:
    """A node may start the vm, once it has claimed it."""
    keep_failures = previous is not None and previous.ended is RunEnd.START_FAILED
    return Placement(
        vm=vm,
        epoch=_next_epoch(previous),
        phase=Phase.ASSIGNED,
        node=node,
        reason=reason,
        since=wall,
        operation=operation,
        last_node=_last_node(previous),
        failures=previous.failures if previous and keep_failures else (),
        restarts=restarts,
        endings=recent_endings(previous, wall),
        failback_after=previous.failback_after if previous else Revision(0),
        drained_from=previous.drained_from if previous else None,
        memory_mib=previous.memory_mib if previous else 0,
        vcpus=previous.vcpus if previous else 0,
        saved=saved_before_claim(previous),
    )


def saved_before_claim(previous: Placement | None) -> SavedImage | None:
    """A saved state outlives only what nobody has claimed: from the claim on the guest may have run from it."""
    is_unclaimed = previous is not None and previous.phase in (Phase.STOPPED, Phase.ASSIGNED)
    return previous.saved if previous is not None and is_unclaimed else None


def adopt(
    vm: VmName,
    previous: Placement | None,
    node: NodeName,
    session: SessionId,
    reason: Reason,
    wall: float,
    *,
    failback_after: Revision,
) -> Placement:
    """It runs on ``node`` already: that session is its holder from now on, so that it leaves only by proof."""
    return replace(
        assign(vm, previous, node, reason, wall, operation=previous.operation if previous else None),
        phase=Phase.HELD,
        session=session,
        failback_after=failback_after,
        drained_from=None,
        saved=None,  # it has run since
        came_by_hand=previous is not None and previous.phase is Phase.DEPARTED,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a start has read of the definition; empty and 0: nothing new."""

    definition: str = ""  # its digest
    memory_mib: int = 0
    vcpus: int = 0


NOTHING_LEARNED = Learned()


def claim(
    placement: Placement,
    session: SessionId,
    wall: float,
    *,
    learned: Learned = NOTHING_LEARNED,
    left_before: str = "",
) -> Placement:
    """``learned``: of what is about to be started. A saved state is used up by this, whatever becomes of the start:
    nobody can say later whether the guest has run from it. ``left_before``: what the hypervisor remembers by then.
    """
    assert placement.phase is Phase.ASSIGNED
    return replace(
        placement,
        phase=Phase.HELD,
        session=session,
        since=wall,
        definition=learned.definition or placement.definition,
        memory_mib=learned.memory_mib or placement.memory_mib,
        vcpus=learned.vcpus or placement.vcpus,
        left_before=left_before,
        guest="" if learned.definition else placement.guest,  # what is started is called as the vm
        saved=None,
    )


def withdraw(placement: Placement, reason: Reason, wall: float, failure: Failure | None = None) -> Placement:
    """Only an assignment that nobody has claimed: the compare on the record decides that race."""
    assert placement.phase is Phase.ASSIGNED
    stopped = release(placement, RunEnd.WITHDRAWN, reason.text, wall, failure=failure)
    return replace(stopped, reason=reason)


def is_its_departure(placement: Placement, left: str | None) -> bool:
    """Whether the migration that the hypervisor remembers took this run away, and not an earlier one.

    By its mark and never by its date: the wall clock of the host, or of the one that wrote the record, may be set. A
    run that came by migration was begun here too, so what is remembered of its end is its own.
    """
    return left is not None and left != placement.left_before


def ask_stop(placement: Placement, reason: Reason, wall: float, operation: RequestId | None = None) -> Placement:
    assert placement.phase is Phase.HELD
    return replace(placement, phase=Phase.STOPPING, reason=reason, since=wall, operation=operation, deed=None)


def ask_stop_until_back(placement: Placement, reason: Reason, wall: float) -> Placement:
    """Its host shuts down, and it is to start there again (deciding/frozen_with_host.py)."""
    return replace(ask_stop(placement, reason, wall), kept_by=placement.session)


def let_go(placement: Placement) -> Placement:
    """It waits for its host no more; nothing else changes."""
    return replace(placement, kept_by=None)


def ask_deed(placement: Placement, deed: GuestDeed) -> Placement:
    """Where it runs, and why, stays as it is."""
    assert placement.phase is Phase.HELD
    return replace(placement, deed=deed, operation=deed.operation)


def ask_migration(
    placement: Placement,
    target: NodeName,
    reason: Reason,
    wall: float,
    *,
    operation: RequestId | None = None,
    failback_after: Revision | None = None,
    style: MigrationStyle | None = None,
    drained_from: NodeName | None = None,
) -> Placement:
    assert placement.phase is Phase.HELD
    assert placement.node != target
    return replace(
        placement,
        phase=Phase.MIGRATING,
        target=target,
        deed=None,
        style=style,
        switched=False,
        drained_from=drained_from,
        reason=reason,
        since=wall,
        operation=operation,
        tries=placement.tries + 1 if operation is not None and operation == placement.operation else 1,
        cancel=None,
        cancel_by="",
        ended=None,
        ended_why="",
        failback_after=placement.failback_after if failback_after is None else failback_after,
    )


def cancel(placement: Placement, request: RequestId, author: str, *, failback_after: Revision) -> Placement:
    """The holder is to call its migration off. ``since`` stays: it is the same migration, and may be over already."""
    assert placement.phase is Phase.MIGRATING
    return replace(placement, cancel=request, cancel_by=author, failback_after=failback_after)


def switch(placement: Placement) -> Placement:
    """Written before libvirt is told to: from now on nobody may take the source's guest for the vm unseen.

    ``since`` stays, it is the same migration. The epoch stays too, because the claim does; what runs at the target
    bears the next one, which is used up from now on.
    """
    assert placement.phase is Phase.MIGRATING
    return replace(placement, switched=True)


def hand_over(
    placement: Placement, wall: float, *, already_running_in: SessionId | None = None, moved: Moved | None = None
) -> Placement:
    """The guest is complete at the target and gone here.

    It stands there paused until the target has claimed it; ``already_running_in`` is for libvirt's own switch, where
    it runs there already, so that the target's session must hold it from this moment on. ``moved``: what it took, where
    the source knows that and the target can not; else the target measures it.
    """
    assert placement.phase is Phase.MIGRATING
    return replace(
        placement,
        epoch=_next_epoch(replace(placement, switched=False)),  # what arrived bears just this one
        phase=Phase.HELD if already_running_in else Phase.ASSIGNED,
        node=placement.target,
        session=already_running_in,
        came_by_hand=False,
        target=None,
        style=None,
        switched=False,
        arrival=True,
        leaving=False,
        leaving_to=None,
        moved=moved,
        since=wall,
        last_node=placement.node,
    )


def call(placement: Placement, guest: str) -> Placement:
    """What its guest is called, where that is not the vm's name; '': it is. Nothing else changes."""
    assert placement.phase is Phase.HELD
    return replace(placement, guest=guest)


def measured(placement: Placement, moved: Moved) -> Placement:
    """Its holder says what its arrival took; nothing else changes."""
    assert placement.phase is Phase.HELD
    return replace(placement, moved=moved)


def keep(placement: Placement, why: str, wall: float) -> Placement:
    """A migration did not happen: the vm stays with its holder."""
    assert placement.phase is Phase.MIGRATING
    failure = Failure(node=placement.target or NodeName(""), at=wall, error=why, moving=True)
    reason = placement.reason
    if placement.cancel is not None:
        text = f"its migration to {placement.target} was cancelled by {placement.cancel_by}"
        reason = Reason(rule="operator-cancelled", text=text, cause=reason.cause)
    return replace(
        placement,
        phase=Phase.HELD,
        reason=reason,
        target=None,
        style=None,
        switched=False,
        since=wall,
        ended_why=why,
        failures=(*placement.failures, failure)[-REMEMBERED_FAILURES:],
    )


def release(
    placement: Placement,
    ended: RunEnd,
    why: str,
    wall: float,
    *,
    failure: Failure | None = None,
    saved: SavedImage | None = None,
) -> Placement:
    """The holder has verified that it does not run there any more (or never did). ``saved``: what it left to go on
    from.
    """
    failures = (*placement.failures, failure)[-REMEMBERED_FAILURES:] if failure else placement.failures
    return replace(
        placement,
        epoch=_last_granted(placement),
        phase=Phase.STOPPED,
        node=None,
        session=None,
        target=None,
        style=None,
        switched=False,
        arrival=False,
        guest="",
        leaving=False,
        leaving_to=None,
        since=wall,
        last_node=placement.node,
        by_force=False,
        deed=None,
        ended=ended,
        ended_why=why,
        kept_by=None if ended is RunEnd.NODE_LOST else placement.kept_by,
        failures=failures,
        definition="",
        saved=saved or saved_before_claim(placement),
    )


def lost_at_target(released: Placement, migrating: Placement) -> Placement:
    """It had left for its target, and that session is over."""
    why = f"it had gone on at {migrating.target}, and was lost with it"
    return replace(released, last_node=migrating.target, ended=RunEnd.NODE_LOST, ended_why=why)


def must_leave(placement: Placement) -> bool:
    """Its last holder ended it because of what was wrong with that node: its release says so by a failure."""
    last = placement.failures[-1] if placement.failures else None
    return last is not None and (last.node, last.at) == (placement.last_node, placement.since)


def forget_holder(placement: Placement, why: str, wall: float) -> Placement:
    """The holder's session is fenced and the vm is not wanted running."""
    return release(placement, RunEnd.NODE_LOST, why, wall)


def note_leaving(placement: Placement, *, leaving: bool, to: NodeName | None) -> Placement:
    """A hand is migrating it away, perhaps out of the cluster (``to`` None); or is not any more."""
    assert placement.phase in (Phase.HELD, Phase.STOPPING)
    return replace(placement, leaving=leaving, leaving_to=to)


def depart(placement: Placement, why: str, wall: float) -> Placement:
    """It was migrated out by hand to a place unknown: nobody may start it until it is seen or confirmed gone."""
    return replace(
        placement,
        epoch=_last_granted(placement),
        phase=Phase.DEPARTED,
        target=None,
        switched=False,
        leaving=False,
        leaving_to=None,
        since=wall,
        ended_why=why,
        kept_by=None,
    )


def note(vm: VmName, placement: Placement | None, reason: Reason, wall: float) -> Placement:
    """Nothing moves; the reason why it waits is recorded."""
    if placement is not None:
        return replace(placement, reason=reason)
    return Placement(vm=vm, epoch=Epoch(0), phase=Phase.STOPPED, reason=reason, since=wall)


def by_our_clock(placement: Placement, wall: float) -> Placement:
    """Dates that lie in the future by more than clocks may differ, written by a host whose clock is wrong, are of now.

    Left as they are, no rest that counts from them would ever begin or end. Brought to now they are late at most by
    the time that it took to see them.
    """
    if latest_date(placement) - wall <= CLOCKS_DIFFER_S:
        return placement

    def real(at: float) -> float:
        return wall if at - wall > CLOCKS_DIFFER_S else at

    failures = tuple(replace(failure, at=real(failure.at)) for failure in placement.failures)
    return replace(
        placement,
        since=real(placement.since),
        failures=failures,
        endings=tuple(map(real, placement.endings)),
        restarts=tuple(map(real, placement.restarts)),
    )


def latest_date(placement: Placement) -> float:
    """Of all that it says of when something was."""
    if not (placement.failures or placement.endings or placement.restarts):
        return placement.since
    failed = (failure.at for failure in placement.failures)
    return max(placement.since, *failed, *placement.endings, *placement.restarts)


def begin_record(vm: VmName, placement: Placement | None, reason: Reason, wall: float) -> Placement:
    """By an operator's word nobody runs it: an epoch that nobody ever held, from which on all is on record."""
    return replace(note(vm, placement, reason, wall), epoch=_next_epoch(placement), since=wall)


def recent_endings(placement: Placement | None, wall: float) -> tuple[float, ...]:
    """When the vm ended unasked within the last ``ENDINGS_COUNT_FOR_S``, the present ending included."""
    if placement is None:
        return ()
    now = (placement.since,) if placement.phase is Phase.STOPPED and placement.ended in UNASKED else ()
    recent = (at for at in (*placement.endings, *now) if wall - at < ENDINGS_COUNT_FOR_S)
    return tuple(recent)[-REMEMBERED_FAILURES:]


def ends_again_for_s(placement: Placement | None, wall: float) -> float:
    """For so long it is one that ends again and again, for which nobody else moves or ends; 0: it is none."""
    endings = sorted(recent_endings(placement, wall))
    return max(0.0, endings[-2] + ENDINGS_COUNT_FOR_S - wall) if len(endings) > 1 else 0.0


def _last_node(previous: Placement | None) -> NodeName | None:
    return (previous.node or previous.last_node) if previous else None
