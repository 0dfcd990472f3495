"""The lines of a round, the totals, and the record in the docs."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from vmha.lab.chaos import report
from vmha.lab.chaos.judge import Done, Facts, Kind, Outcome, Violation
from vmha.lab.chaos.report import Result
from vmha.lab.chaos.schedule import Fault, Role, Round, Shape, Strike, Target
from vmha.model.settings import PROFILES, Profile

CUT = Strike(at_s=0.5, fault=Fault.CUT_LAN, target=Target(role=Role.HOST, name="h1"), lasts_s=4.0)
GOOD = Result(
    seed=1,
    number=1,
    hosts=3,
    etcd=3,
    vms=3,
    fence=True,
    faults=("cut lan", "freeze"),
    undone=("freeze",),
    violations=(),
    remarks=(),
    back_s=2.0,
    outage_s=7.5,
    rest_s=3.0,
    boots=1,
    budget_s=38.0,
)
BAD = replace(GOOD, number=2, violations=("ran twice: v1: double writers 1",), back_s=None, faults=("cut lan",))


def outcome(*violations: Violation, said: str = "") -> Outcome:
    done = Done(strike=CUT, at_s=0.5, target="h1", said=said)
    facts = Facts(done=(done,), guests=(), pending="", rest_s=2.0, budget_s=38.0, struck_s=4.5, healing_s=0.5)
    return Outcome(round=Round(seed=1, number=7, strikes=(CUT,)), facts=facts, violations=violations)


def test_a_line_says_number_verdict_times_and_faults() -> None:
    line = report.outcome_line(outcome())
    assert "7  good, back after  0.0 s, at rest after  2.0 s" in line
    assert line.endswith("cut lan h1 at 0.5 s for 4.0 s")


def test_a_violation_and_what_could_not_be_done_are_told_below() -> None:
    bad = outcome(Violation(kind=Kind.RAN_TWICE, text="v1: double writers 3"), said="h1 is off")
    assert "VIOLATION" in report.outcome_line(bad)
    assert [line.strip() for line in report.detail_lines(bad)] == [
        "cut lan h1: h1 is off",
        "VIOLATION ran twice: v1: double writers 3",
    ]


def test_result_counts_what_was_not_possible_but_a_refused_copy_as_done() -> None:
    shape = Shape.of(hosts=3, etcd=3, vms=1, timing=PROFILES[Profile.TUNED])
    assert Result.of(outcome(said="h1 is off"), shape, fence=False).undone == ("cut lan",)
    copy = replace(CUT, fault=Fault.VIRSH_COPY)
    refused = outcome()
    facts = replace(refused.facts, done=(Done(strike=copy, at_s=0.0, target="v1", said="refused"),))
    assert Result.of(replace(refused, facts=facts), shape, fence=False).undone == ()


def test_totals_are_of_all_rounds() -> None:
    sums = report.total([GOOD, replace(GOOD, number=3, back_s=6.0), BAD])
    assert (sums.rounds, sums.bad, sums.boots) == (3, 1, 3)
    assert (sums.back_median_s, sums.back_max_s) == (4.0, 6.0)


def test_results_of_several_runs_add_up_and_a_later_one_replaces_an_earlier(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert report.load_results(path) == []
    with path.open("w") as file:
        for result in (BAD, GOOD, replace(BAD, violations=())):
            file.write(f"{json.dumps(asdict(result))}\n")
    assert report.load_results(path) == [GOOD, replace(BAD, violations=())]


def test_record_names_seeds_rounds_and_every_violation() -> None:
    text = report.record([GOOD, BAD, replace(GOOD, number=5)])
    assert "**3 rounds, 1 with a violation.**" in text
    assert "| 1 | 1-2, 5 | 3 / 3 / 3 | yes | 1 | 3 |" in text
    assert "| cut lan | 3 | 0 | 2.0 | 2.0 | 7.5 | 7.5 | 1 |" in text
    assert "* seed 1, round 2: ran twice: v1: double writers 1" in text
    assert "## Violations" not in report.record([GOOD])
