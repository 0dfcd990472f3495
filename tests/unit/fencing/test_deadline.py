"""The guard's state machine: tables of its transitions, and what holds for every order of commands."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmha.fencing.deadline import EXPIRED, Deadline, State, Verdict

HOLD_S, LEAD_S = 10.0, 1.0


def armed(sent_at: float = 100.0, now: float = 100.0) -> Deadline:
    outcome = Deadline().arm("s1", hold_s=HOLD_S, kill_lead_s=LEAD_S, sent_at=sent_at, now=now)
    assert outcome.verdict is Verdict.OK
    return outcome.deadline


def expired() -> Deadline:
    return armed().tick(109.0)


def clean() -> Deadline:
    return expired().guests_gone(109.2)


def test_killing_begins_the_lead_before_the_hold_has_run_out() -> None:
    guard = armed()
    assert (guard.deadline, guard.kill_at, guard.wake_at) == (110.0, 109.0, 109.0)
    assert guard.tick(108.999).state is State.ARMED
    assert guard.tick(109.0).state is State.EXPIRED_KILLING
    assert guard.tick(109.0).expired_at == 109.0


def test_a_beat_counts_from_when_it_was_sent_not_from_when_it_was_told() -> None:
    outcome = armed().beat("s1", sent_at=103.0, now=108.0)
    assert (outcome.verdict, outcome.deadline.deadline) == (Verdict.OK, 113.0)


def test_an_older_beat_does_not_move_the_deadline_back() -> None:
    guard = armed().beat("s1", sent_at=105.0, now=105.5).deadline
    outcome = guard.beat("s1", sent_at=103.0, now=106.0)
    assert (outcome.verdict, outcome.deadline.deadline) == (Verdict.OK, 115.0)


def test_a_beat_that_is_told_after_the_killing_began_revives_nothing() -> None:
    outcome = armed().beat("s1", sent_at=108.5, now=109.0)
    assert outcome.verdict is Verdict.EXPIRED
    assert outcome.deadline.state is State.EXPIRED_KILLING
    assert "s1 is expired" in outcome.words


@pytest.mark.parametrize("guard", [expired(), clean()])
def test_an_expired_session_can_not_be_armed_again(guard: Deadline) -> None:
    outcome = guard.arm("s1", hold_s=HOLD_S, kill_lead_s=LEAD_S, sent_at=110.0, now=110.0)
    assert (outcome.verdict, outcome.deadline) == (Verdict.EXPIRED, guard)


@pytest.mark.parametrize(
    ("guard", "guests_left", "verdict"),
    [
        (Deadline(), 0, Verdict.OK),
        (Deadline(), 3, Verdict.OK),  # a guard that lost its memory takes up what the agent knows
        (armed(), 0, Verdict.OK),
        (armed(), 1, Verdict.GUESTS_LEFT),
        (expired(), 0, Verdict.GUESTS_LEFT),  # not verified yet, whatever the count says
        (clean(), 1, Verdict.GUESTS_LEFT),
        (clean(), 0, Verdict.OK),
    ],
)
def test_a_new_session_is_armed_only_when_no_guest_of_another_is_left(
    guard: Deadline, guests_left: int, verdict: Verdict
) -> None:
    outcome = guard.arm("s2", hold_s=4, kill_lead_s=0.5, sent_at=105.0, now=105.1, guests_left=guests_left)
    assert outcome.verdict is verdict
    assert outcome.deadline.session == ("s2" if verdict is Verdict.OK else guard.session)


def test_a_restarted_agent_takes_its_session_up_and_keeps_the_later_beat() -> None:
    guard = armed().beat("s1", sent_at=106.0, now=106.0).deadline
    outcome = guard.arm("s1", hold_s=HOLD_S, kill_lead_s=LEAD_S, sent_at=101.0, now=107.0, guests_left=5)
    assert (outcome.verdict, outcome.deadline.deadline) == (Verdict.OK, 116.0)


def test_taking_up_a_session_with_a_hold_that_is_already_over_ends_it() -> None:
    outcome = armed().arm("s1", hold_s=3, kill_lead_s=1, sent_at=100.0, now=105.0)
    assert (outcome.verdict, outcome.deadline.state) == (Verdict.EXPIRED, State.EXPIRED_KILLING)


def test_a_beat_from_before_the_hold_arms_nothing() -> None:
    outcome = Deadline().arm("s1", hold_s=HOLD_S, kill_lead_s=LEAD_S, sent_at=100.0, now=109.0)
    assert (outcome.verdict, outcome.deadline) == (Verdict.EXPIRED, Deadline())


@pytest.mark.parametrize(
    ("session", "hold_s", "kill_lead_s", "sent_at"),
    [
        ("", 10, 1, 100),
        ("s", 0, 0, 100),
        ("s", -1, 0, 100),
        ("s", 10, 10, 100),
        ("s", 10, -1, 100),
        ("s", math.nan, 1, 100),
        ("s", math.inf, 1, 100),
        ("s", 10, math.nan, 100),
        ("s", 10, 1, math.nan),
        ("s", 10, 1, -5),
    ],
)
def test_settings_that_are_none_are_refused(session: str, hold_s: float, kill_lead_s: float, sent_at: float) -> None:
    outcome = Deadline().arm(session, hold_s=hold_s, kill_lead_s=kill_lead_s, sent_at=sent_at, now=100.0)
    assert (outcome.verdict, outcome.deadline) == (Verdict.INVALID, Deadline())


def test_a_send_time_in_the_future_is_refused() -> None:
    assert armed().beat("s1", sent_at=101.1, now=101.0).verdict is Verdict.FROM_THE_FUTURE
    arm = Deadline().arm("s1", hold_s=HOLD_S, kill_lead_s=LEAD_S, sent_at=101.1, now=101.0)
    assert arm.verdict is Verdict.FROM_THE_FUTURE


@pytest.mark.parametrize(("guard", "session"), [(Deadline(), "s1"), (armed(), "s2"), (expired(), "s2")])
def test_beats_of_a_session_that_is_not_armed_are_refused(guard: Deadline, session: str) -> None:
    outcome = guard.beat(session, sent_at=101.0, now=102.0)
    assert (outcome.verdict, outcome.deadline) == (Verdict.UNKNOWN_SESSION, guard)


@pytest.mark.parametrize(
    ("guard", "session", "guests_left", "verdict", "state"),
    [
        (Deadline(), "s1", 0, Verdict.OK, State.IDLE),
        (armed(), "s1", 0, Verdict.OK, State.IDLE),
        (armed(), "s1", 2, Verdict.GUESTS_LEFT, State.ARMED),
        (armed(), "s2", 0, Verdict.UNKNOWN_SESSION, State.ARMED),
        (expired(), "s1", 0, Verdict.EXPIRED, State.EXPIRED_KILLING),
        (clean(), "s1", 0, Verdict.EXPIRED, State.EXPIRED_CLEAN),
    ],
)
def test_disarm(guard: Deadline, session: str, guests_left: int, verdict: Verdict, state: State) -> None:
    outcome = guard.disarm(session, guests_left=guests_left, now=105.0)
    assert (outcome.verdict, outcome.deadline.state) == (verdict, state)


def test_an_evicted_session_is_ended_before_its_time_and_for_good() -> None:
    outcome = armed().expire("s1", cause="evicted", now=101.0)
    assert (outcome.verdict, outcome.deadline.state) == (Verdict.OK, State.EXPIRED_KILLING)
    assert outcome.deadline.beat("s1", sent_at=101.5, now=102.0).verdict is Verdict.EXPIRED
    assert outcome.deadline.expire("s1", cause="again", now=103.0).deadline == outcome.deadline


def test_a_guest_that_appears_after_the_end_makes_the_node_unclean_again() -> None:
    assert clean().guest_appeared().state is State.EXPIRED_KILLING
    assert clean().guest_appeared().guests_gone(120.0).clean_at == 120.0
    assert armed().guest_appeared() == armed()
    assert armed().guests_gone(101.0) == armed()


@dataclass(frozen=True)
class Command:
    name: str
    session: str
    after_s: float  # the time that passes before it
    age_s: float  # how old its send time is; negative: in the future
    guests: int


commands = st.lists(
    st.builds(
        Command,
        name=st.sampled_from(["arm", "beat", "beat", "beat", "expire", "disarm", "tick", "gone", "appeared"]),
        session=st.sampled_from(["a", "b", "c"]),
        after_s=st.floats(0, 6),
        age_s=st.floats(-1, 12),
        guests=st.integers(0, 2),
    ),
    max_size=40,
)


def apply(guard: Deadline, command: Command, now: float) -> tuple[Deadline, Verdict | None]:
    sent_at = now - command.age_s
    match command.name:
        case "arm":
            outcome = guard.arm(
                command.session,
                hold_s=HOLD_S,
                kill_lead_s=LEAD_S,
                sent_at=sent_at,
                now=now,
                guests_left=command.guests,
            )
        case "beat":
            outcome = guard.beat(command.session, sent_at=sent_at, now=now)
        case "expire":
            outcome = guard.expire(command.session, cause="evicted", now=now)
        case "disarm":
            outcome = guard.disarm(command.session, guests_left=command.guests, now=now)
        case "gone":
            return guard.guests_gone(now), None
        case "appeared":
            return guard.guest_appeared(), None
        case _:
            return guard.tick(now), None
    return outcome.deadline, outcome.verdict


@given(commands)
def test_once_expired_a_session_is_never_armed_again_while_it_is_remembered(script: list[Command]) -> None:
    guard, now = Deadline(), 100.0
    for command in script:
        now += command.after_s
        before = guard
        guard, verdict = apply(guard, command, now)
        if before.state in EXPIRED and guard.session == before.session:
            assert guard.state in EXPIRED
            assert guard.sent_at == before.sent_at
            assert guard.expired_at == before.expired_at
        if before.state is State.EXPIRED_KILLING:
            # Only the verification leads on from here.
            assert guard.session == before.session
            assert guard.state is State.EXPIRED_KILLING or command.name == "gone"
        if before.state in EXPIRED and command.name == "beat":
            assert verdict is not Verdict.OK


@given(commands)
def test_an_armed_session_never_outlives_its_last_beat_by_the_hold(script: list[Command]) -> None:
    guard, now = Deadline(), 100.0
    told: dict[str, float] = {}  # the latest send time accepted per session
    for command in script:
        now += command.after_s
        before = guard
        guard, verdict = apply(guard, command, now)
        if verdict is Verdict.OK and command.name in ("arm", "beat"):
            is_same = before.session == guard.session and before.state is State.ARMED
            known = told.get(guard.session, -math.inf) if is_same else -math.inf
            told[guard.session] = max(known, now - command.age_s)
        if guard.state is State.ARMED:
            assert guard.sent_at == told[guard.session]
            assert guard.sent_at <= now
            if command.name not in ("gone", "appeared"):
                assert now < guard.kill_at
        if before.state is State.ARMED and guard.state is State.ARMED and before.session == guard.session:
            assert guard.deadline >= before.deadline


@given(commands)
def test_a_send_time_in_the_future_is_never_accepted(script: list[Command]) -> None:
    guard, now = Deadline(), 100.0
    for command in script:
        now += command.after_s
        guard, verdict = apply(guard, command, now)
        if command.name in ("arm", "beat") and now - command.age_s > now:
            assert verdict is not Verdict.OK
