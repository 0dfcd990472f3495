"""What an agent is to do about one vm on its own node: the placement says what may be, the local view what is.

An answer is an ``Action``; the agent carries it out and asks again. Actions that end or resume a guest are decided on
a placement read through the store's quorum just before (the agent's duty: see ``needs_fresh_reading``), because an
agent whose watch lags could otherwise undo what others have agreed on.
"""

from enum import StrEnum

from vmha.model.ids import NodeName, SessionId
from vmha.model.records import Observation, Phase, Placement, SeenState
from vmha.model.vm import OnDuplicate
from vmha.policy.at_node.known import NOTHING_SHOWN, Attempt, Local, Others
from vmha.policy.at_node.paused import Deed


class Action(StrEnum):
    NOTHING = "nothing"
    WAIT = "wait"  # something is under way in the hypervisor; its event will come
    START = "start"  # claim, then create
    ADOPT = "adopt"  # claim what runs here already, then tag it
    RESUME_ARRIVAL = "resume-arrival"  # claim if need be, then let the migrated guest run
    TAG = "tag"  # it runs here and is held here: its metadata must say so, and the record what it is called
    MEASURE = "measure"  # it has arrived and was let go: what did that take?
    STOP = "stop"
    DEED = "deed"  # something is to be done, once, to the guest that runs here
    MIGRATE = "migrate"
    ATTEND = "attend"  # a migration by post-copy is under way, and nobody here attends to it
    HAND_OVER = "hand-over"  # gone from here, complete at the target
    KEEP = "keep"  # the migration failed, or is called off, and the guest is here
    RESUME_AND_KEEP = "resume-and-keep"  # ... and stands still
    RELEASE = "release"  # it does not run here any more
    DEPART = "depart"  # it was migrated away by hand
    DEPART_UNSURE = "depart-unsure"  # ... perhaps: it stands here, and may run where the hand has sent it
    NOTE_LEAVING = "note-leaving"  # a hand is migrating it away, to a member or a place unknown; or is not any more
    CLEAR = "clear"  # end what is left of a guest that nobody may run here
    ALARM_DUPLICATE = "alarm-duplicate"  # ...: say so, and leave it
    PAUSE_DUPLICATE = "pause-duplicate"  # a second copy, while the holder's runs: make it stand still
    MARK_SECOND = "mark-second"  # a copy stands here, and is certainly one too many: it must never become the vm
    RESUME_PAUSED = "resume-paused"  # it stands still by an I/O error: let it try again
    END_UNWELL = "end-unwell"  # it runs, and is not well: end it, so that it is recovered
    UNTAG = "untag"  # no longer managed: take our mark off, touch nothing else


DESTRUCTIVE = frozenset(
    {
        Action.ALARM_DUPLICATE,
        Action.PAUSE_DUPLICATE,
        Action.MARK_SECOND,
        Action.CLEAR,
        Action.END_UNWELL,
        Action.RESUME_PAUSED,
        Action.RESUME_ARRIVAL,
        Action.RESUME_AND_KEEP,
        Action.RELEASE,
        Action.DEPART,
        Action.DEPART_UNSURE,
    }
)

SAYS_WHAT_IS = frozenset(
    {
        Action.NOTHING,
        Action.WAIT,
        Action.ADOPT,
        Action.RELEASE,
        Action.DEPART,
        Action.NOTE_LEAVING,
        Action.HAND_OVER,
    }
)
"""These start, stop and move nothing: they put on record what has come about."""


def needs_fresh_reading(action: Action) -> bool:
    return action in DESTRUCTIVE


def reconcile(
    placement: Placement | None,
    local: Local | None,
    *,
    me: NodeName,
    session: SessionId,
    managed: bool,
    attempt: Attempt,
    others: Others = NOTHING_SHOWN,
    runs_at_once: bool = False,
    post_copy: bool = False,
) -> Action:
    """Args:
    local: what is here.
    me, session: this node, and its session now.
    managed: the vm is defined in the cluster.
    runs_at_once, post_copy: of the migration that the placement asks for (policy/deciding/post_copy.py).
    """
    if placement is None or not (managed or _is_on_its_way(placement)):
        return Action.UNTAG if local and local.tagged and not managed and not _stands_aside(local) else Action.NOTHING
    if local is not None and local.second and not local.migrating and _is_due_to_end(placement, me, session):
        return Action.CLEAR
    if placement.node == me:
        match placement.phase:
            case Phase.ASSIGNED if local is None and not managed:
                return Action.NOTHING  # it was on its way here, and has not come: there is nothing to start
            case Phase.ASSIGNED:
                return _assigned(placement, local)
            case Phase.HELD if placement.session == session:
                return _held(placement, local, attempt, others.comes_in)
            case Phase.STOPPING if placement.session == session:
                return _stopping(placement, local, attempt, others.comes_in)
            case Phase.MIGRATING if placement.session == session:
                if local is None and attempt.left_by_migration and others.at_target is None:
                    is_ours = attempt.migration_is_ours or placement.switched
                    by_hand = _left_by_hand(is_ours, others.target_lacks_it, others.seen_elsewhere)
                    if by_hand is not None:
                        return by_hand
                    if runs_at_once and others.target_is_over:
                        return Action.RELEASE
                if local is not None and (under_way := _by_post_copy(placement, local, attempt, post_copy)):
                    return under_way
                return _migrating(placement, local, attempt, others.at_target, others.target_answers, runs_at_once)
            case Phase.DEPARTED:
                return Action.CLEAR if _is_left_over(local, attempt) else Action.NOTHING
    if others.duplicate is not None and local is not None and local.state is SeenState.RUNNING:
        return _DUPLICATE[others.duplicate]
    if others.stands_beside and local is not None and local.state is SeenState.PAUSED and not local.second:
        return Action.MARK_SECOND
    return _elsewhere(placement, local, attempt, me)


def _stands_aside(local: Local) -> bool:
    """A second copy that stands keeps its mark, or it would be adopted when the vm is added again. One that somebody
    has let run, while the vm was nobody's, is the vm as far as anybody knows.
    """
    return local.second and local.state is SeenState.PAUSED


def _is_due_to_end(placement: Placement, me: NodeName, session: SessionId) -> bool:
    """What becomes of a second copy: it stands while the vm runs, or may run, elsewhere, and never becomes the vm.

    Its memory is older than the disk, or was never in step with it. Nobody holds the vm any more, or it is to boot
    anew: then the copy is in the way, and is ended. Where it has been adopted after all (by an earlier version), also.
    """
    match placement.phase:
        case Phase.STOPPED:
            return True
        case Phase.ASSIGNED:
            return not placement.arrival or placement.node == me
        case Phase.HELD | Phase.MIGRATING | Phase.STOPPING:
            return placement.node == me and placement.session == session
        case _:
            return False


_DUPLICATE = {
    OnDuplicate.PAUSE: Action.PAUSE_DUPLICATE,
    OnDuplicate.DESTROY: Action.CLEAR,
    OnDuplicate.ALARM: Action.ALARM_DUPLICATE,
}


def _is_on_its_way(placement: Placement) -> bool:
    """Between two nodes: it has to arrive, managed or not, or it would stand still for ever."""
    return placement.phase is Phase.MIGRATING or (placement.phase is Phase.ASSIGNED and placement.arrival)


def _assigned(placement: Placement, local: Local | None) -> Action:
    if local is None:
        return Action.START
    match local.state:
        case SeenState.ARRIVED:
            is_expected = placement.arrival and local.epoch == placement.epoch
            return Action.RESUME_ARRIVAL if is_expected else Action.CLEAR
        case SeenState.CRASHED:
            return Action.CLEAR
        case SeenState.RUNNING | SeenState.PAUSED:
            return Action.ADOPT
        case _:
            return Action.WAIT


def is_news_of_leaving(placement: Placement, local: Local, comes_in: NodeName | None) -> bool:
    """While it stands as a migration left it nobody knows how that ended: what is on record stays."""
    is_so = (local.migrating, comes_in if local.migrating else None)
    return not local.stands_outgoing and is_so != (placement.leaving, placement.leaving_to)


def _held(placement: Placement, local: Local | None, attempt: Attempt, comes_in: NodeName | None) -> Action:
    if local is None:
        return Action.DEPART if attempt.left_by_migration else Action.RELEASE
    if _is_left_over(local, attempt):
        return Action.DEPART_UNSURE
    match local.state:
        case SeenState.ARRIVED:
            may_go = placement.arrival and not attempt.let_go_in_vain
            return Action.RESUME_ARRIVAL if may_go else Action.CLEAR
        case SeenState.CRASHED:
            return Action.CLEAR
        case SeenState.RUNNING if attempt.pulls_in_vain:
            return Action.CLEAR
        case _ if is_news_of_leaving(placement, local, comes_in):
            return Action.NOTE_LEAVING
        case SeenState.RUNNING | SeenState.PAUSED if _is_to_be_marked(placement, local):
            return Action.TAG
        case SeenState.RUNNING if placement.deed is not None and placement.deed.is_pending and not local.migrating:
            return Action.DEED
        case SeenState.RUNNING if (attempt.is_unwell or _is_hung(local, attempt)) and not local.migrating:
            return Action.END_UNWELL
        case SeenState.RUNNING | SeenState.PAUSED if _is_to_be_measured(placement, local, attempt):
            return Action.MEASURE
        case SeenState.PAUSED if not local.migrating and attempt.pause is not Deed.NOTHING:
            return Action.RESUME_PAUSED if attempt.pause is Deed.RESUME else Action.END_UNWELL
        case _:
            return Action.NOTHING


def _is_to_be_marked(placement: Placement, local: Local) -> bool:
    """When it has gone while no agent was here, the next one finds what libvirt says of it only by its name."""
    return (local.epoch, local.name) != (placement.epoch, placement.guest) and not local.migrating


def _is_hung(local: Local, attempt: Attempt) -> bool:
    return local.silent and attempt.pause is Deed.END


def _is_to_be_measured(placement: Placement, local: Local, attempt: Attempt) -> bool:
    return placement.arrival and not local.is_pulling and not (placement.moved or attempt.measured)


def _stopping(placement: Placement, local: Local | None, attempt: Attempt, comes_in: NodeName | None) -> Action:
    """A hand may have sent it to another host before the stop reached it: it was not stopped then."""
    if local is None:
        return Action.DEPART if attempt.left_by_migration else Action.RELEASE
    if _is_left_over(local, attempt):
        return Action.DEPART_UNSURE
    if is_news_of_leaving(placement, local, comes_in):
        return Action.NOTE_LEAVING
    return Action.WAIT if local.state is SeenState.OUTGOING else Action.STOP


def _is_left_over(local: Local | None, attempt: Attempt) -> bool:
    """A migration that a hand began broke in its last phase, and libvirt could not tell whether the target runs.

    It is never resumed: where it was sent to, perhaps outside the cluster, it may run, or have run and written to its
    disk since. Nor is it started anew before that is known: on record it has departed, then what stands here is ended.
    """
    return local is not None and local.stands_outgoing and attempt.left_standing


def _left_by_hand(is_ours: bool, target_lacks_it: bool | None, seen_elsewhere: bool) -> Action | None:
    """It left by a migration, and the target does not show it: was it ours, or a hand's to another host?

    Handed over to the target then, it would be started there while it runs where the hand has sent it. That ours was
    tried says nothing: libvirt refuses a second migration while a hand's is under way. None: ours.
    """
    if seen_elsewhere:
        return Action.DEPART
    if is_ours:
        return None
    return Action.WAIT if target_lacks_it is None else Action.DEPART


NOT_LET_GO_ON = "api_error"
"""libvirt's word, since 9.2, for what it meant to let go on at the source, and could not."""

_WENT_ON = (SeenState.RUNNING, SeenState.PAUSED)
"""What came in completely by libvirt's own switch: paused, if somebody had paused it, or its disk failed there."""


def _by_post_copy(placement: Placement, local: Local, attempt: Attempt, post_copy: bool) -> Action | None:
    """While it is under way somebody has to attend to it: it does not switch by itself, and libvirt does not say that
    nothing comes of it any more. Once it has switched what stands here is ended sooner or later, and never resumed.
    """
    if placement.switched and local.has_switched:
        return Action.CLEAR if attempt.is_given_up else Action.ATTEND
    is_called_off = placement.cancel is not None and not placement.switched
    return Action.ATTEND if post_copy and local.migrating and not is_called_off else None


def _migrating(
    placement: Placement,
    local: Local | None,
    attempt: Attempt,
    at_target: Observation | None,
    target_answers: bool,
    is_libvirts: bool,
) -> Action:
    """A guest that stands complete at the target is handed over only if it is known to have left here by migration.

    Else it may have run on here (libvirt lets it, when the target's last reply is lost) and ended after that: what
    stands at the target is then older than the disk, and must never run.
    """
    went_on = _WENT_ON if is_libvirts else (SeenState.RUNNING,)
    went_on = (*went_on, SeenState.CRASHED, SeenState.STOPPING) if placement.switched else went_on
    runs_there = at_target is not None and at_target.state in went_on
    is_unknown = is_libvirts and not target_answers and not runs_there
    if local is None:
        if attempt.left_by_migration or runs_there:
            return Action.HAND_OVER
        is_arriving = at_target is not None and at_target.state is SeenState.INCOMING
        return Action.WAIT if is_arriving or is_unknown else Action.RELEASE
    is_cancelled = placement.cancel is not None
    if local.migrating:
        return Action.KEEP if is_cancelled else Action.WAIT
    if is_libvirts and local.state is SeenState.RUNNING and _has_gone_on(placement, at_target):
        return Action.CLEAR
    match local.state:
        case SeenState.CRASHED:
            return Action.CLEAR
        case SeenState.OUTGOING | SeenState.PAUSED if _was_left_standing(local, attempt):
            # Stands still at the end of a migration whose outcome libvirt could not tell. With our hand-over the
            # target has not been resumed by anybody. With libvirt's own switch it may run there, or have run there and
            # ended since: what stands here is then older than the disk, and is ended either way.
            if not is_libvirts and not local.has_switched:
                return Action.RESUME_AND_KEEP
            is_known = runs_there or (at_target is None and target_answers)
            return Action.CLEAR if is_known else Action.WAIT
        case _:
            is_over = attempt.migration_tried or is_cancelled or placement.switched
            return Action.KEEP if is_over else Action.MIGRATE


def _has_gone_on(placement: Placement, at_target: Observation | None) -> bool:
    """The target runs what came in by this very migration. Where the source runs as well, libvirt has lost the last
    reply and let it go on, from memory that is older than the disk by now.

    So it is if it has run there and stands now: a hand has suspended it since, or its disk failed. What stands there
    and is not known to have run may have come so: its source was paused, and was resumed since, and goes on.
    """
    if at_target is None or at_target.epoch != placement.epoch + 1:
        return False
    return at_target.state is SeenState.RUNNING or (at_target.state is SeenState.PAUSED and at_target.has_run)


def _was_left_standing(local: Local, attempt: Attempt) -> bool:
    """By the migration that the placement asks for, which is not under way any more."""
    return local.stands_outgoing or (local.reason == NOT_LET_GO_ON and attempt.migration_tried)


def _elsewhere(placement: Placement, local: Local | None, attempt: Attempt, me: NodeName) -> Action:
    """Held by another, or by nobody. A guest that came in and was never resumed is left over unless it is expected."""
    if _is_left_over(local, attempt) and placement.node != me:
        return Action.CLEAR
    if local is not None and local.state is SeenState.INCOMING and attempt.left_incoming:
        return Action.CLEAR if local.epoch == placement.epoch + 1 else Action.NOTHING
    if local is None or local.state is not SeenState.ARRIVED:
        return Action.NOTHING  # a running stray is reported, never silently ended
    if placement.phase is Phase.MIGRATING and placement.target == me:
        return Action.NOTHING
    if local.epoch is not None and local.epoch > placement.epoch + 1:
        return Action.NOTHING  # from a later agreement than the one read here
    return Action.CLEAR


def under_hold(action: Action, placement: Placement | None, local: Local | None) -> Action:
    """What is left of an action while the vm is frozen, or the cluster paused: nothing begins.

    A migration that has not begun is given up. What a crashed guest left is kept, for whoever wants to look at it, and
    what arrived and can not be let go.
    """
    match action:
        case Action.START | Action.DEED | Action.END_UNWELL | Action.RESUME_PAUSED:
            return Action.NOTHING
        case Action.MIGRATE:
            return Action.KEEP
        case Action.CLEAR if placement is not None and placement.phase is Phase.HELD:
            is_its = local is not None and local.epoch == placement.epoch
            is_kept = is_its and local is not None and local.state in (SeenState.CRASHED, SeenState.ARRIVED)
            return Action.NOTHING if is_kept else action
    return action
