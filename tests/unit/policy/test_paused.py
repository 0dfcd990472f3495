"""What is done about a guest that stands still, by the reason, and of which guests it is asked at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clusters import cluster
from tests.unit.policy.test_reconcile import OLD, STATES, decide, local, placement
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, SeenState
from vmha.model.standing import OnIoError, OnPause, OnTrouble
from vmha.policy.at_node.known import Attempt
from vmha.policy.at_node.paused import Deed, Standing, is_ours_alone, react
from vmha.policy.at_node.reconcile import Action, needs_fresh_reading, under_hold

DEFAULT = OnPause()


@pytest.mark.parametrize(
    ("policy", "reason", "for_s", "deed", "leaves"),
    [
        (DEFAULT, "user", 1e6, Deed.NOTHING, False),
        (OnPause(user=OnTrouble.RESTART), "user", 0.0, Deed.END, False),
        (DEFAULT, "watchdog", 0.0, Deed.END, False),
        (OnPause(watchdog=OnTrouble.KEEP), "watchdog", 1e6, Deed.NOTHING, False),
        (DEFAULT, "hung", 1e6, Deed.NOTHING, False),
        (OnPause(hung=OnTrouble.RESTART), "hung", 59.9, Deed.NOTHING, False),
        (OnPause(hung=OnTrouble.RESTART), "hung", 60.0, Deed.END, False),
        (OnPause(hung=OnTrouble.RESTART, hung_restart_after_s=5.0), "hung", 5.0, Deed.END, False),
        (DEFAULT, "ioerror", 0.0, Deed.NOTHING, False),
        (DEFAULT, "ioerror", 1.0, Deed.RESUME, False),
        (DEFAULT, "ioerror", 300.0, Deed.END, True),
        (OnPause(io_error_relocate_after_s=0), "ioerror", 1e6, Deed.RESUME, False),
        (OnPause(io_error=OnIoError.KEEP), "ioerror", 1e6, Deed.NOTHING, False),
        (OnPause(io_error=OnIoError.RESTART), "ioerror", 0.0, Deed.END, False),
        (OnPause(io_error=OnIoError.RELOCATE), "ioerror", 0.0, Deed.END, True),
        *((DEFAULT, reason, 1e6, Deed.NOTHING, False) for reason in ("migration", "save", "dump", "postcopy", "")),
        *((DEFAULT, reason, 1e6, Deed.NOTHING, False) for reason in ("starting_up", "snapshot", "reason 99")),
    ],
)
def test_deed_follows_from_reason_and_policy(
    policy: OnPause, reason: str, for_s: float, deed: Deed, leaves: bool
) -> None:
    found = react(policy, Standing(reason=reason, since=0.0, seen=0.0), for_s, no_kill=False)
    assert (found.deed, found.leaves) == (deed, leaves)


@pytest.mark.parametrize("came_by_hand", [True, False])
def test_what_was_set_aside_goes_on_at_once_where_its_source_has_said_that_it_left(came_by_hand: bool) -> None:
    """Where that has ended otherwise it had run meanwhile, and what stands here is older than the disk."""
    for policy in (DEFAULT, OnPause(user=OnTrouble.RESTART)):
        aside = Standing(reason="aside", since=0.0, seen=0.0)
        found = react(policy, aside, 0.0, no_kill=True, came_by_hand=came_by_hand)
        assert found.deed is (Deed.RESUME if came_by_hand else Deed.NOTHING)
    again = react(DEFAULT, aside.tried(0.0), 0.0, no_kill=True, came_by_hand=True)
    assert (again.deed, again.wait_s) == (Deed.NOTHING, 2.0)


def test_it_is_resumed_less_and_less_often() -> None:
    standing, resumed_at, now = Standing(reason="ioerror", since=0.0, seen=0.0), [], 0.0
    while now < 130.0:
        found = react(DEFAULT, standing, now, no_kill=False)
        if found.deed is Deed.RESUME:
            resumed_at.append(now)
            standing = standing.tried(now)
        else:
            assert found.wait_s
            now += found.wait_s
    assert resumed_at == [1, 3, 7, 15, 31, 61, 91, 121]


policies = st.builds(
    OnPause,
    user=st.sampled_from(OnTrouble),
    io_error=st.sampled_from(OnIoError),
    watchdog=st.sampled_from(OnTrouble),
    io_error_relocate_after_s=st.sampled_from([0.0, 10.0, 300.0]),
)
reasons = st.sampled_from(["user", "ioerror", "watchdog", "migration", "save", "postcopy_failed", ""])


@settings(deadline=None)
@given(policies, reasons, st.floats(0, 1e6))
def test_vm_that_must_not_be_killed_is_never_ended_and_only_an_io_error_is_resumed(
    policy: OnPause, reason: str, now: float
) -> None:
    found = react(policy, Standing(reason=reason, since=0.0, seen=0.0), now, no_kill=True)
    assert found.deed is not Deed.END
    assert found.deed is Deed.NOTHING or reason == "ioerror"


@pytest.mark.parametrize("deed", [Deed.RESUME, Deed.END])
@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("migrating", [False, True])
def test_only_a_guest_that_stands_still_under_our_claim_is_touched_for_it(
    deed: Deed, phase: Phase, state: SeenState | None, migrating: bool
) -> None:
    """Arrivals, what a migration has left, second copies: none of them is resumed or ended by this."""
    decided = decide(placement(phase), local(state, migrating=migrating), attempt=Attempt(pause=deed))
    stands = phase is Phase.HELD and state is SeenState.PAUSED and not migrating
    touched = {Deed.RESUME: Action.RESUME_PAUSED, Deed.END: Action.END_UNWELL}[deed]
    assert (decided is touched) is stands
    theirs = decide(placement(Phase.HELD, session=OLD), local(state, migrating=migrating), attempt=Attempt(pause=deed))
    assert theirs is not touched


def test_guest_that_somebody_runs_elsewhere_as_well_is_none_of_them() -> None:
    """Resumed beside that one it would run twice."""
    book = cluster("n1", "n2").running("web", "n1").seen("n1", "web", SeenState.PAUSED)

    def is_ours() -> bool:
        snapshot = book.snapshot()
        view = snapshot.vms[VmName("web")]
        held = book.claim("web")
        assert held.session
        return is_ours_alone(view, held, NodeName("n1"), held.session, snapshot)

    assert is_ours()
    book.seen("n2", "web", SeenState.RUNNING)
    assert not is_ours()


@pytest.mark.parametrize("action", [Action.RESUME_PAUSED, Action.END_UNWELL])
def test_frozen_vm_is_left_standing(action: Action) -> None:
    assert under_hold(action, placement(Phase.HELD), local(SeenState.PAUSED)) is Action.NOTHING


def test_it_is_resumed_on_a_fresh_reading_only() -> None:
    assert needs_fresh_reading(Action.RESUME_PAUSED)
