"""How long a member, or a beat, is waited for: a frozen member is left quickly, a slow store is not given up."""

import pytest

from vmha.agent.session_state import beat_timeout_s
from vmha.model.settings import PROFILES, Profile, Timing
from vmha.store.renewal import attempt_s

TUNED, DEFAULT = PROFILES[Profile.TUNED], PROFILES[Profile.DEFAULT]


@pytest.mark.parametrize(
    ("timing", "left_s", "expected_s"),
    [
        (DEFAULT, 10.0, 10.0 / 3),
        (DEFAULT, 2.5, 2.5),  # an answer after the hold is of no use
        (DEFAULT, 0.0, 0.1),
        (DEFAULT, -1.0, 0.1),
        (TUNED, 4.0, 4.0 / 3),
        (TUNED, 1.2, 1.2),
        (Timing(beat_s=1.0, hold_s=60.0), 60.0, 20.0),
    ],
)
def test_beat_is_waited_for_a_third_of_the_hold_and_not_beyond_it(
    timing: Timing, left_s: float, expected_s: float
) -> None:
    assert beat_timeout_s(timing, left_s) == pytest.approx(expected_s)


@pytest.mark.parametrize("timing", [DEFAULT, TUNED])
def test_two_slow_beats_in_a_row_still_come_before_the_guard_acts(timing: Timing) -> None:
    """The first was sent right after a quick one; its own answer counts from when it was sent."""
    one = beat_timeout_s(timing, timing.hold_s)
    assert timing.beat_s + one <= timing.hold_s - timing.kill_lead_s  # the first answers in time
    assert one + one <= timing.hold_s - timing.kill_lead_s  # and so does each that follows one as slow


@pytest.mark.parametrize(
    ("silent", "timeout_s", "members", "expected_s"),
    [
        (0, 8.0, 3, 1.0),
        (1, 8.0, 3, 2.0),
        (2, 8.0, 3, 4.0),
        (9, 8.0, 3, 8.0),
        (0, 1.5, 3, 0.5),  # the second one gets its turn, with twice the time
        (1, 1.5, 3, 1.0),
        (0, 0.5, 1, 0.5),  # there is nobody else to ask
        (0, 8.0, 1, 1.0),
    ],
)
def test_renewal_leaves_the_first_member_quickly_and_gives_the_next_ones_more_time(
    silent: int, timeout_s: float, members: int, expected_s: float
) -> None:
    assert attempt_s(silent, 1.0, timeout_s, members) == pytest.approx(expected_s)
