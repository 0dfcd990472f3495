"""Post-copy: when it switches, to whom, what a record of it means, and when what lies on two hosts is given up."""

from dataclasses import replace

import pytest

from tests.unit.policy.test_reconcile import EPOCH, LEFT_STANDING, ME, MINE, OTHER, at_target, decide, local, placement
from vmha.model.ids import Epoch, Revision, SessionId, VmName
from vmha.model.migration import MigrationProgress
from vmha.model.records import (
    ArmedLevel,
    BeatRecord,
    Observation,
    Phase,
    Reason,
    RequestId,
    RunEnd,
    SeenState,
    SessionRecord,
    Stored,
)
from vmha.model.vm import Handover, Migration, MigrationStyle, VmSpec
from vmha.policy.at_node.known import Attempt, Local
from vmha.policy.at_node.reconcile import Action
from vmha.policy.deciding.post_copy import (
    GIVE_UP_AFTER_S,
    NOTHING_THERE_S,
    TAKE_UP_AFTER_S,
    Fetching,
    is_due,
    is_post_copy,
    runs_at_once,
    why_no_switch,
)
from vmha.policy.state import transitions
from vmha.policy.state.snapshot import NodeView, Snapshot, VmView

S = SeenState
WEB = VmName("web")
MOVING = replace(placement(Phase.MIGRATING), style=MigrationStyle.POST_COPY)
SWITCHED = transitions.switch(MOVING)
STANDS = Local(state=S.OUTGOING, epoch=EPOCH, tagged=True, has_switched=True)


def how(**fields: object) -> Migration:
    return Migration.model_validate({"style": "post-copy", "handover": "libvirt"} | fields)


def progress(elapsed_s: float = 1.0, *, iteration: int = 1, remaining: int = 100) -> MigrationProgress:
    return MigrationProgress(elapsed_s=elapsed_s, remaining_bytes=remaining, total_bytes=100, iteration=iteration)


# --- settings


def test_it_goes_only_with_libvirts_own_switch() -> None:
    with pytest.raises(ValueError, match=r"style: post-copy: does not go with handover: safe \(accepted: handover: "):
        Migration(style=MigrationStyle.POST_COPY)
    assert how().style is MigrationStyle.POST_COPY
    assert Migration(handover=Handover.LIBVIRT, post_copy_after_s=5).style is MigrationStyle.LIVE


@pytest.mark.parametrize(
    ("fields", "elapsed_s", "iteration", "due"),
    [
        ({}, 29.0, 9, False),
        ({}, 30.0, 1, True),
        ({"timeout_s": 20}, 10.0, 1, True),  # half of what it may take
        ({"post_copy_after_s": 5}, 4.9, 9, False),
        ({"post_copy_after_s": 5}, 5.0, 1, True),
        ({"post_copy_after_passes": 2}, 500.0, 2, False),
        ({"post_copy_after_passes": 2}, 1.0, 3, True),
        ({"post_copy_after_passes": 2, "post_copy_after_s": 5}, 6.0, 1, True),  # whichever comes first
    ],
)
def test_when_it_is_due(fields: dict[str, object], elapsed_s: float, iteration: int, due: bool) -> None:
    assert is_due(progress(elapsed_s, iteration=iteration), how(**fields)) is due


# --- the switch


def cluster(seen: Observation | None, *, has_session: bool = True) -> tuple[VmView, Snapshot]:
    session = SessionId("s-n2")
    record = SessionRecord(node=OTHER, session=session, since=0.0, version="1", address="")
    beat = BeatRecord(session=session, boot_id="b", count=1, armed=ArmedLevel.GUARD, hold_s=4.0, dead_after_s=6.0)
    node = NodeView(
        name=OTHER,
        session=Stored(record, Revision(1), Revision(1)) if has_session else None,
        beat=Stored(beat, Revision(1), Revision(2)),
    )
    vm = VmView(name=WEB, seen={OTHER: seen} if seen else {})
    return vm, Snapshot(revision=Revision(9), nodes={OTHER: node}, vms={WEB: vm})


def shown(state: SeenState, epoch: int) -> Observation:
    return Observation(vm=WEB, node=OTHER, session=SessionId("s-n2"), state=state, epoch=Epoch(epoch))


def test_it_switches_only_to_a_living_target_that_shows_just_this_migration_coming_in() -> None:
    assert why_no_switch(MOVING, *cluster(shown(S.INCOMING, EPOCH + 1))) == ""
    assert "does not show it coming in" in why_no_switch(MOVING, *cluster(None))
    assert "does not show it coming in" in why_no_switch(MOVING, *cluster(shown(S.INCOMING, EPOCH)))
    assert "does not show it coming in" in why_no_switch(MOVING, *cluster(shown(S.ARRIVED, EPOCH + 1)))
    assert "has no session" in why_no_switch(MOVING, *cluster(shown(S.INCOMING, EPOCH + 1), has_session=False))
    of_before = replace(shown(S.INCOMING, EPOCH + 1), session=SessionId("s-n2-before"))
    assert "does not show it coming in" in why_no_switch(MOVING, *cluster(of_before))


def test_it_does_not_switch_once_it_is_called_off_or_over() -> None:
    called_off = transitions.cancel(MOVING, RequestId("c"), "root@n1", failback_after=Revision(1))
    assert why_no_switch(called_off, *cluster(shown(S.INCOMING, EPOCH + 1))) == "it is called off by root@n1"
    held = placement(Phase.HELD)
    assert "it is held by now" in why_no_switch(held, *cluster(shown(S.INCOMING, EPOCH + 1)))


def test_what_a_record_of_the_switch_means_does_not_hang_on_the_definition() -> None:
    """Which may be changed, or removed, meanwhile."""
    safe = VmSpec(name="web", xml="<domain/>", uuid="u")
    assert not runs_at_once(MOVING, safe)
    assert runs_at_once(SWITCHED, safe)
    assert runs_at_once(SWITCHED, None)
    assert is_post_copy(MOVING, safe)
    assert not is_post_copy(placement(Phase.MIGRATING), safe)


# --- epochs


def test_epoch_that_the_target_had_from_the_switch_on_is_not_given_again() -> None:
    reason, wall = Reason(rule="r", text="t"), 1.0
    assert transitions.hand_over(SWITCHED, wall, already_running_in=MINE).epoch == EPOCH + 1  # it is this one
    assert transitions.keep(SWITCHED, "failed", wall).epoch == EPOCH  # it never ran there
    released = transitions.release(SWITCHED, RunEnd.CRASHED, "lost", wall)
    assert transitions.assign(WEB, released, ME, reason, wall).epoch == EPOCH + 2
    assert transitions.assign(WEB, SWITCHED, ME, reason, wall).epoch == EPOCH + 2
    assert transitions.depart(SWITCHED, "gone", wall).epoch == EPOCH + 1
    for after in (released, transitions.keep(SWITCHED, "failed", wall), transitions.depart(SWITCHED, "gone", wall)):
        assert not after.switched


# --- the source


@pytest.mark.parametrize("switched", [False, True])
def test_source_that_stands_by_the_switch_is_never_resumed(switched: bool) -> None:
    placed = SWITCHED if switched else MOVING
    for seen in (None, *SeenState):
        for tried in (False, True):
            attempt = Attempt(migration_tried=tried, left_standing=True)
            action = decide(placed, STANDS, at_target=at_target(seen), attempt=attempt, runs_at_once=True)
            assert action in (Action.WAIT, Action.ATTEND, Action.CLEAR)


def test_half_at_the_source_is_attended_to_until_nothing_comes_of_it_and_then_ended() -> None:
    for migrating in (False, True):
        here = replace(STANDS, migrating=migrating)
        for seen in (None, S.RUNNING, S.CRASHED):
            asked = {"at_target": at_target(seen), "runs_at_once": True}
            assert decide(SWITCHED, here, **asked) is Action.ATTEND
            assert decide(SWITCHED, here, attempt=Attempt(is_given_up=True), **asked) is Action.CLEAR


def test_migration_that_an_agent_of_before_began_is_attended_to() -> None:
    here = local(S.RUNNING, migrating=True)
    assert decide(MOVING, here, post_copy=True) is Action.ATTEND
    assert decide(MOVING, here, post_copy=False) is Action.WAIT
    assert decide(SWITCHED, here, post_copy=True) is Action.ATTEND  # on record, and not made yet
    called_off = transitions.cancel(MOVING, RequestId("c"), "root", failback_after=Revision(1))
    assert decide(called_off, here, post_copy=True) is Action.KEEP


def test_guest_that_runs_at_its_source_in_spite_of_the_record_stays_there() -> None:
    """Seen, not inferred: the migration failed before libvirt switched."""
    assert decide(SWITCHED, local(S.RUNNING), runs_at_once=True) is Action.KEEP


@pytest.mark.parametrize("seen", [S.RUNNING, S.PAUSED, S.CRASHED])
def test_what_the_target_shows_is_the_vm_once_the_sources_half_is_gone(seen: SeenState) -> None:
    """Broken or not: it is held there, so that only that node's word, or a proof, lets it be started anew."""
    for left in (False, True):
        attempt = Attempt(left_by_migration=left)
        assert decide(SWITCHED, None, attempt=attempt, at_target=at_target(seen), runs_at_once=True) is Action.HAND_OVER


def test_target_that_shows_nothing_is_handed_it_or_is_over_but_never_passed_by() -> None:
    left = Attempt(left_by_migration=True)
    assert decide(SWITCHED, None, attempt=left, runs_at_once=True) is Action.HAND_OVER
    assert decide(SWITCHED, None, attempt=left, runs_at_once=True, target_is_over=True) is Action.RELEASE
    silent = {"runs_at_once": True, "target_answers": False}
    assert decide(SWITCHED, None, **silent) is Action.WAIT
    assert decide(SWITCHED, None, at_target=at_target(S.INCOMING), **silent) is Action.WAIT


# --- the target


def test_half_that_nobody_can_send_anything_any_more_is_ended_by_its_holder() -> None:
    here = Local(state=S.RUNNING, epoch=EPOCH, tagged=True, is_pulling=True)
    held = replace(placement(Phase.HELD), arrival=True)
    assert decide(held, here) is Action.NOTHING  # not even measured
    assert decide(held, here, attempt=Attempt(pulls_in_vain=True)) is Action.CLEAR
    assert decide(held, local(S.CRASHED)) is Action.CLEAR


def test_what_came_in_is_left_alone_while_its_source_holds_it() -> None:
    switched_to_me = replace(SWITCHED, node=OTHER, session=SessionId("s-n2"), target=ME)
    for state in (S.INCOMING, S.RUNNING, S.PAUSED, S.CRASHED):
        assert decide(switched_to_me, local(state, epoch=EPOCH + 1)) is Action.NOTHING
    assert decide(switched_to_me, local(S.OUTGOING), attempt=LEFT_STANDING) is Action.CLEAR


# --- giving up


def test_it_is_given_up_when_nothing_has_been_fetched_for_a_while_and_not_before() -> None:
    there = replace(shown(S.RUNNING, EPOCH + 1), reason="postcopy")
    fetching = Fetching(moved_at=0.0).look(progress(remaining=90), 1.0)
    assert not fetching.is_over(there, GIVE_UP_AFTER_S)
    assert fetching.is_over(there, GIVE_UP_AFTER_S + 1.0)
    again = fetching.look(progress(remaining=89), GIVE_UP_AFTER_S)
    assert not again.is_over(there, 2 * GIVE_UP_AFTER_S - 1.0)
    assert fetching.look(progress(remaining=95), 5.0) == fetching  # more is no progress
    assert fetching.look(None, 5.0) == fetching  # nor is no answer


@pytest.mark.parametrize("there", [None, replace(shown(S.RUNNING, EPOCH + 1), reason="migrated")])
def test_source_of_a_guest_that_has_ended_or_has_all_is_given_up_soon(there: Observation | None) -> None:
    assert not Fetching(moved_at=0.0).is_over(there, NOTHING_THERE_S / 2)
    assert Fetching(moved_at=0.0).is_over(there, NOTHING_THERE_S)


def test_lost_connection_is_taken_up_again_within_the_budget() -> None:
    fetching = Fetching(moved_at=0.0)
    assert not fetching.is_to_be_taken_up("postcopy", GIVE_UP_AFTER_S)
    assert not fetching.is_to_be_taken_up("postcopy_failed", TAKE_UP_AFTER_S / 2)
    assert fetching.is_to_be_taken_up("postcopy_failed", TAKE_UP_AFTER_S)
    tried = replace(fetching, taken_up_at=TAKE_UP_AFTER_S)
    assert not tried.is_to_be_taken_up("postcopy_failed", TAKE_UP_AFTER_S + 1.0)
    assert tried.is_to_be_taken_up("postcopy_failed", 2 * TAKE_UP_AFTER_S)
