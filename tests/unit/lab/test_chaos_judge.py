"""What the judge of a round sees, and what it lets pass."""

from dataclasses import replace

import pytest

from vmha.lab.chaos.judge import Done, Facts, GuestFacts, Kind, Outcome, Traces, judge, judge_unplayed
from vmha.lab.chaos.recovery import Recovery, budget_s
from vmha.lab.chaos.schedule import Fault, Role, Round, Strike, Target
from vmha.model.settings import PROFILES, Profile

BEFORE = Traces(boots=3, ticks=100, returns=0, tick_breaks=0, foreign=0, double_writers=0)
AFTER = replace(BEFORE, ticks=200)
COPY = Strike(at_s=0.0, fault=Fault.VIRSH_COPY, target=Target(role=Role.VM, name="v1"), to="h2")
CUT = Strike(at_s=0.0, fault=Fault.CUT_LAN, target=Target(role=Role.HOST, name="h1"), lasts_s=4.0)


def guest(**fields: object) -> GuestFacts:
    good = GuestFacts(
        vm="v1",
        before=BEFORE,
        after=AFTER,
        back_s=0.0,
        outage_s=0.2,
        state="running",
        reason="it was started",
        qemus=("h1",),
    )
    return replace(good, **fields)  # type: ignore[arg-type]


def verdict(
    *guests: GuestFacts, strikes: tuple[Strike, ...] = (CUT,), done: tuple[Done, ...] = (), pending: str = ""
) -> Outcome:
    facts = Facts(
        done=done,
        guests=guests or (guest(),),
        pending=pending,
        rest_s=2.0,
        budget_s=38.0,
        struck_s=4.0,
        healing_s=1.0,
    )
    return judge(Round(seed=1, number=1, strikes=strikes), facts)


def kinds(outcome: Outcome) -> list[Kind]:
    return [violation.kind for violation in outcome.violations]


def test_guest_that_ticks_on_is_good() -> None:
    outcome = verdict()
    assert outcome.is_good
    assert (outcome.back_s, outcome.boots, outcome.remarks) == (0.0, 0, ())


@pytest.mark.parametrize("sign", ["returns", "tick_breaks", "foreign", "double_writers"])
def test_each_sign_of_two_instances_convicts(sign: str) -> None:
    outcome = verdict(guest(after=replace(AFTER, **{sign: 1})))
    assert kinds(outcome) == [Kind.RAN_TWICE]
    assert "v1" in outcome.violations[0].text


def test_signs_of_an_earlier_round_do_not_convict_a_later_one() -> None:
    old = {"returns": 4, "double_writers": 9}
    assert verdict(guest(before=replace(BEFORE, **old), after=replace(AFTER, **old))).is_good


def test_guest_that_does_not_tick_is_not_back_and_what_vmha_says_is_quoted() -> None:
    outcome = verdict(guest(back_s=None, state="paused", reason="nobody knows"))
    assert kinds(outcome) == [Kind.NOT_BACK]
    assert "vmha says paused: nobody knows" in outcome.violations[0].text
    assert outcome.back_s is None


def test_guest_left_paused_is_not_back_although_vmha_says_that_it_runs() -> None:
    assert kinds(verdict(guest(back_s=None, state="running"))) == [Kind.NOT_BACK]


def test_guest_that_came_back_after_its_budget_is_not_back() -> None:
    assert kinds(verdict(guest(back_s=38.5))) == [Kind.NOT_BACK]
    assert verdict(guest(back_s=37.5)).is_good


def test_qemu_left_over_on_another_host_is_seen_even_when_it_stands_still() -> None:
    assert kinds(verdict(guest(qemus=("h1", "h3")))) == [Kind.LEFT_OVER]


def test_copy_that_was_refused_is_no_violation_and_one_that_was_let_in_is() -> None:
    refused = Done(strike=COPY, at_s=0.0, target="v1", said="error: use 'vmha vm start v1'")
    assert verdict(strikes=(COPY,), done=(refused,)).is_good
    let_in = Done(strike=COPY, at_s=0.0, target="v1", let_in=True)
    assert kinds(verdict(strikes=(COPY,), done=(let_in,))) == [Kind.GATE]


def test_cluster_that_does_not_come_to_rest_is_a_violation_though_all_guests_tick() -> None:
    outcome = verdict(pending="h2 has not published its inventory yet")
    assert kinds(outcome) == [Kind.NO_REST]
    assert "h2 has not published" in outcome.violations[0].text


def test_round_that_could_not_be_played_is_no_success() -> None:
    assert kinds(judge_unplayed(Round(seed=1, number=1, strikes=(CUT,)), "the lab ended")) == [Kind.NOT_PLAYED]


def test_a_boot_that_nothing_in_the_round_explains_is_remarked() -> None:
    booted = guest(after=replace(AFTER, boots=4))
    agent = replace(CUT, fault=Fault.KILL_AGENT, lasts_s=0.0)
    assert "booted anew" in verdict(booted, strikes=(agent,)).remarks[0]
    assert verdict(booted, strikes=(CUT,)).remarks == ()
    assert verdict(booted, strikes=(agent, CUT)).remarks == ()


# -- when a guest is back


def see(*sights: tuple[float, float | None]) -> Recovery:
    """Sights of v1 as (seconds after healing, seconds since its last write)."""
    recovery = Recovery(healed_at_s=100.0)
    for after_s, since_s in sights:
        recovery.see(100.0 + after_s, {"v1": since_s})
    return recovery


def test_guest_that_never_stopped_is_back_at_once() -> None:
    assert see((0.2, 0.05), (0.4, 0.01)).back_s("v1") == 0.0


def test_guest_is_back_when_it_was_last_seen_silent() -> None:
    assert see((0.2, 5.2), (3.0, 8.0), (3.2, 0.05), (3.4, 0.02)).back_s("v1") == pytest.approx(3.0)


def test_guest_that_is_ended_once_more_after_healing_is_back_only_after_that() -> None:
    assert see((0.2, 0.05), (2.0, 1.5), (6.0, 5.5), (6.2, 0.1)).back_s("v1") == pytest.approx(6.0)


def test_guest_that_ticked_before_healing_alone_does_not_tick() -> None:
    recovery = see((0.2, 0.5))
    assert not recovery.is_ticking("v1")
    assert recovery.back_s("v1") is None


@pytest.mark.parametrize("since_s", [None, 2.0])
def test_guest_that_is_silent_in_the_end_is_not_back(since_s: float | None) -> None:
    assert see((0.2, 0.05), (3.0, since_s)).back_s("v1") is None


def test_budget_holds_the_whole_chain_from_silence_to_a_started_guest() -> None:
    for profile in Profile:
        timing = PROFILES[profile]
        assert budget_s(timing) > timing.dead_after_s + timing.lease_ttl_s
    assert budget_s(PROFILES[Profile.TUNED]) < 60.0
