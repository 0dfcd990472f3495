"""What a libvirt state means, as a table; the hard rows are those of guests between two hosts."""

import pytest

from vmha.hypervisor.port import DomainState
from vmha.hypervisor.states import Job, Mark, Paused, RawState, classify, is_finished_handover, needs_job, reason_word

MOVING = (RawState.PAUSED, Paused.MIGRATION)


@pytest.mark.parametrize(
    ("state", "reason", "meaning"),
    [
        (RawState.RUNNING, 1, DomainState.RUNNING),
        (RawState.RUNNING, 10, DomainState.RUNNING),
        (RawState.RUNNING, 11, DomainState.CRASHED),
        (RawState.BLOCKED, 0, DomainState.RUNNING),
        (RawState.PAUSED, Paused.USER, DomainState.PAUSED),
        (RawState.PAUSED, Paused.IOERROR, DomainState.PAUSED),
        (RawState.PAUSED, Paused.WATCHDOG, DomainState.PAUSED),
        (RawState.PAUSED, Paused.STARTING_UP, DomainState.PAUSED),
        (RawState.PAUSED, Paused.API_ERROR, DomainState.PAUSED),
        (RawState.PAUSED, Paused.CRASHED, DomainState.CRASHED),
        (RawState.PAUSED, Paused.POSTCOPY, DomainState.OUTGOING),
        (RawState.PAUSED, Paused.POSTCOPY_FAILED, DomainState.OUTGOING),
        (RawState.PAUSED, Paused.SHUTTING_DOWN, DomainState.SHUTTING_DOWN),
        (RawState.PAUSED, 99, DomainState.PAUSED),
        (RawState.SHUTDOWN, 0, DomainState.SHUTTING_DOWN),
        (RawState.SHUTOFF, 1, DomainState.SHUTOFF),
        (RawState.CRASHED, 1, DomainState.CRASHED),
        (RawState.PMSUSPENDED, 0, DomainState.PAUSED),
        (RawState.NOSTATE, 0, DomainState.PAUSED),
        (99, 0, DomainState.PAUSED),
    ],
)
def test_state_of_a_guest_on_one_host(state: int, reason: int, meaning: DomainState) -> None:
    assert classify(state, reason, mark=Mark.NONE, job=Job.NOT_ASKED, seen_arriving=False) is meaning


@pytest.mark.parametrize(
    ("mark", "job", "seen_arriving", "meaning"),
    [
        (Mark.STANDING, Job.NOT_ASKED, False, DomainState.INCOMING),
        (Mark.PAUSED, Job.NOT_ASKED, False, DomainState.INCOMING),
        (Mark.NONE, Job.INCOMING, False, DomainState.INCOMING),
        (Mark.NONE, Job.MIGRATING_OUT, False, DomainState.OUTGOING),
        (Mark.NONE, Job.NONE, False, DomainState.OUTGOING),
        (Mark.NONE, Job.UNKNOWN, False, DomainState.INCOMING),
        (Mark.NONE, Job.NOT_ASKED, False, DomainState.INCOMING),
        (Mark.NONE, Job.NONE, True, DomainState.INCOMING),
    ],
)
def test_guest_paused_by_a_migration_leaves_only_if_libvirt_says_so(
    mark: Mark, job: Job, seen_arriving: bool, meaning: DomainState
) -> None:
    assert classify(*MOVING, mark=mark, job=job, seen_arriving=seen_arriving) is meaning


@pytest.mark.parametrize("mark", [Mark.STANDING, Mark.PAUSED])
def test_marked_guest_that_libvirt_calls_paused_by_a_user_has_arrived(mark: Mark) -> None:
    state = classify(RawState.PAUSED, Paused.USER, mark=mark, job=Job.NOT_ASKED, seen_arriving=False)
    assert state is DomainState.ARRIVED


def test_marked_guest_that_is_starting_up_is_on_its_way_in() -> None:
    state = classify(RawState.PAUSED, Paused.STARTING_UP, mark=Mark.STANDING, job=Job.NOT_ASKED, seen_arriving=False)
    assert state is DomainState.INCOMING


@pytest.mark.parametrize("reason", [Paused.IOERROR, Paused.WATCHDOG])
def test_mark_does_not_turn_another_pause_into_an_arrival(reason: Paused) -> None:
    state = classify(RawState.PAUSED, reason, mark=Mark.STANDING, job=Job.NOT_ASKED, seen_arriving=False)
    assert state is DomainState.PAUSED


def test_job_is_asked_for_only_where_nothing_else_tells() -> None:
    assert needs_job(*MOVING, Mark.NONE)
    assert not needs_job(*MOVING, Mark.STANDING)
    assert needs_job(RawState.PAUSED, Paused.POSTCOPY, Mark.NONE)
    assert not needs_job(RawState.RUNNING, 1, Mark.NONE)
    assert not needs_job(RawState.PAUSED, Paused.USER, Mark.NONE)


def test_mark_of_a_running_guest_is_a_leftover() -> None:
    assert is_finished_handover(RawState.RUNNING, Mark.STANDING)
    assert not is_finished_handover(RawState.RUNNING, Mark.NONE)
    assert not is_finished_handover(RawState.PAUSED, Mark.STANDING)


@pytest.mark.parametrize(
    ("state", "reason", "word"),
    [
        (RawState.PAUSED, 5, "ioerror"),
        (RawState.RUNNING, 6, "migration_canceled"),
        (RawState.SHUTOFF, 2, "destroyed"),
        (RawState.CRASHED, 1, "panicked"),
        (RawState.PMSUSPENDED, 0, "pmsuspended"),
        (RawState.NOSTATE, 0, "nostate"),
        (RawState.PAUSED, 99, "reason 99"),
        (RawState.SHUTDOWN, 0, ""),
    ],
)
def test_reason_is_libvirts_own_word(state: int, reason: int, word: str) -> None:
    assert reason_word(state, reason) == word
