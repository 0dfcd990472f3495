"""The rounds that a seed draws: always the same, each for itself, and within what the lab can be asked for."""

import json
from dataclasses import replace

import pytest

from vmha.lab.chaos.rounds import Run
from vmha.lab.chaos.schedule import (
    AT_ETCD,
    AT_HOSTS,
    AT_VMS,
    MOVES,
    Fault,
    Role,
    Round,
    Shape,
    Strike,
    count_faults,
    draw_preferences,
    draw_round,
)
from vmha.lab.chaos.strikes import find_etcd_leader
from vmha.model.settings import PROFILES, Profile
from vmha.model.vm import MigrationStyle

TIMING = PROFILES[Profile.TUNED]
SHAPE = Shape.of(hosts=3, etcd=3, vms=3, timing=TIMING)
MANY = [draw_round(seed, number, SHAPE) for seed in range(1, 6) for number in range(1, 201)]


def run_of(first_round: int, rounds: int) -> Run:
    return Run(seed=7, first_round=first_round, rounds=rounds, shape=SHAPE, profile="tuned")


def test_a_round_played_alone_is_the_one_of_the_whole_run() -> None:
    assert run_of(17, 1).schedule == (run_of(1, 40).schedule[16],)


def test_the_schedule_is_the_same_on_every_machine() -> None:
    words = "drain host of v3 at 0.0 s for 1.0 s; freeze h1 at 0.6 s for 6.4 s; load host of v2 at 0.0 s for 7.0 s"
    assert draw_round(1, 2, SHAPE).words == words
    assert [p.hosts for p in draw_preferences(1, SHAPE)] == [p.hosts for p in draw_preferences(1, SHAPE)]


def test_another_seed_and_another_number_draw_other_rounds() -> None:
    assert len({played.words for played in MANY}) > 950


def test_every_fault_is_drawn_sooner_or_later() -> None:
    assert set(count_faults(MANY)) == {fault.value for fault in Fault}
    assert AT_HOSTS.keys() | AT_ETCD.keys() | AT_VMS.keys() | MOVES.keys() | {Fault.LOAD} == set(Fault)


def test_a_round_has_one_or_two_faults_and_perhaps_a_move_before_them_and_a_busy_host() -> None:
    for played in MANY:
        moves = [strike for strike in played.strikes if strike.fault in MOVES]
        loads = [strike for strike in played.strikes if strike.fault is Fault.LOAD]
        assert len(moves) <= 1
        assert len(loads) <= 1
        assert 1 <= len(played.strikes) - len(moves) - len(loads) <= 2
        assert all(strike.at_s >= 0.0 for strike in moves)


def test_a_host_is_busy_from_the_beginning_of_a_round_to_its_end() -> None:
    busy = [(played, load) for played in MANY for load in played.strikes if load.fault is Fault.LOAD]
    assert len(MANY) / 5 < len(busy) < len(MANY) / 2
    for played, load in busy:
        assert load.at_s == 0.0
        assert load.lasts_s > 0.0
        assert load.ends_s >= max(strike.ends_s for strike in played.strikes) - 0.01
    assert any(strike.fault in MOVES for played, _ in busy for strike in played.strikes)


def test_the_guests_migrate_in_both_styles_and_some_take_their_time() -> None:
    drawn = draw_preferences(1, SHAPE)
    assert {each.style for each in drawn} == {MigrationStyle.LIVE, MigrationStyle.PAUSE}
    assert {each.is_large for each in drawn} == {True, False}
    assert draw_preferences(1, replace(SHAPE, vms=("v1", "v2", "v3", "v4")))[3].style is MigrationStyle.LIVE


def test_durations_lie_on_all_sides_of_the_deadlines() -> None:
    freezes = [strike.lasts_s for played in MANY for strike in played.strikes if strike.fault is Fault.FREEZE]
    assert min(freezes) < TIMING.suspect_s
    assert any(TIMING.hold_s - TIMING.kill_lead_s < lasts_s < TIMING.dead_after_s for lasts_s in freezes)
    assert max(freezes) > TIMING.dead_after_s + TIMING.watchdog_s - 1.0


def test_strikes_aim_at_what_is_there() -> None:
    for strike in (strike for played in MANY for strike in played.strikes):
        names = {
            Role.HOST: SHAPE.hosts,
            Role.MEMBER: SHAPE.members,
            Role.VM: SHAPE.vms,
            Role.HOLDER: SHAPE.vms,
            Role.LEADER: ("",),
            Role.ETCD_LEADER: ("",),
        }[strike.target.role]
        assert strike.target.name in names, strike
        assert strike.to in ("", *SHAPE.hosts)


def test_most_faults_during_a_move_hit_its_ends() -> None:
    hit = [
        strike
        for played in MANY
        if played.strikes[0].fault is Fault.MIGRATE
        for strike in played.strikes[1:]
        if strike.fault in AT_HOSTS
    ]
    ends = [strike for strike in hit if strike.target.role in (Role.HOLDER, Role.HOST)]
    assert len(ends) > len(hit) / 2


def test_a_round_is_data() -> None:
    plain = json.loads(json.dumps(MANY[0].to_dict()))
    assert plain["seed"] == 1
    assert {"at_s", "fault", "target", "lasts_s", "to"} == set(plain["strikes"][0])


def test_the_replay_command_names_the_round_and_the_shape() -> None:
    command = run_of(1, 40).replay_command(Round(seed=7, number=17, strikes=()), fence=False)
    assert command.startswith("vmha lab chaos --seed 7 --first-round 17 --rounds 1 ")
    assert command.endswith("--hosts 3 --vms 3 --etcd 3 --profile tuned --no-fence")


STATUS = """\
"MemberID" : 4234198935657905227
"RaftTerm" : 2
"Leader" : 13409474774590372064
"Endpoint" : "10.97.0.201:2379"

"MemberID" : 13409474774590372064
"Leader" : 13409474774590372064
"Endpoint" : "10.97.0.202:2379"
"""


@pytest.mark.parametrize(
    ("text", "leader"),
    [
        pytest.param(STATUS, "etcd-2", id="the second leads"),
        pytest.param(STATUS[: STATUS.index("\n\n")], "", id="the leader does not answer"),
        pytest.param("", "", id="nobody answers"),
    ],
)
def test_the_leading_etcd_member_is_read_from_etcdctls_answer(text: str, leader: str) -> None:
    assert find_etcd_leader(text, SHAPE.members) == leader


def test_strike_says_what_it_does() -> None:
    strike = next(s for played in MANY for s in played.strikes if s.fault is Fault.ETCD_STOP and s.target.name == "")
    assert isinstance(strike, Strike)
    assert strike.words.startswith("etcd stop the etcd leader at ")
