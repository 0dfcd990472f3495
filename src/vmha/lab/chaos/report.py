"""What is told of the rounds: a line each, totals, and the record in the docs. Pure; made of plain results, so that
rounds of several runs add up.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from vmha.lab.chaos.judge import Outcome
from vmha.lab.chaos.schedule import Fault, Round, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One round in short, as it is written to a file of results."""

    seed: int
    number: int
    hosts: int
    etcd: int
    vms: int
    fence: bool
    faults: tuple[str, ...]
    undone: tuple[str, ...]
    violations: tuple[str, ...]
    remarks: tuple[str, ...]
    back_s: float | None
    outage_s: float
    rest_s: float
    boots: int
    budget_s: float

    @classmethod
    def of(cls, outcome: Outcome, shape: Shape, *, fence: bool) -> "Result":
        done = outcome.facts.done
        return cls(
            seed=outcome.round.seed,
            number=outcome.round.number,
            hosts=len(shape.hosts),
            etcd=len(shape.members),
            vms=len(shape.vms),
            fence=fence,
            faults=tuple(str(strike.fault) for strike in outcome.round.strikes),
            undone=tuple(str(each.strike.fault) for each in done if _was_not_done(each.said, each.strike.fault)),
            violations=tuple(f"{violation.kind}: {violation.text}" for violation in outcome.violations),
            remarks=outcome.remarks,
            back_s=None if outcome.back_s is None else round(outcome.back_s, 2),
            outage_s=outcome.outage_s,
            rest_s=outcome.facts.rest_s,
            boots=outcome.boots,
            budget_s=outcome.facts.budget_s,
        )

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "Result":
        tuples = {key: tuple(raw[key]) for key in ("faults", "undone", "violations", "remarks")}
        return cls(**(raw | tuples))


def _was_not_done(said: str, fault: Fault) -> bool:
    """A copy that is refused was done all right: somebody tried to start it."""
    return bool(said) and fault is not Fault.VIRSH_COPY and not said.startswith("shortened")


def load_results(path: Path) -> list[Result]:
    """Later results of a round replace earlier ones."""
    if not path.exists():
        return []
    found = [Result.from_dict(json.loads(line)) for line in path.read_text().splitlines() if line.strip()]
    return sorted({(r.seed, r.number): r for r in found}.values(), key=lambda r: (r.seed, r.number))


def schedule_line(played: Round) -> str:
    return f"{played.number:4d}  {played.words}"


def outcome_line(outcome: Outcome) -> str:
    back = "NOT BACK" if outcome.back_s is None else f"back after {outcome.back_s:4.1f} s"
    verdict = "good" if outcome.is_good else "VIOLATION"
    facts = outcome.facts
    return (
        f"{outcome.round.number:4d}  {verdict}, {back}, at rest after {facts.rest_s:4.1f} s, {outcome.boots} boots, "
        f"longest outage {outcome.outage_s:.1f} s (struck {facts.struck_s:.1f} s, healed in {facts.healing_s:.1f} s): "
        f"{outcome.round.words}"
    )


def detail_lines(outcome: Outcome) -> list[str]:
    """What did not go as drawn, what is worth a look, and what is wrong."""
    lines = [f"{each.strike.fault} {each.target}: {each.said}" for each in outcome.facts.done if each.said]
    lines += [f"remark: {remark}" for remark in outcome.remarks]
    lines += [f"VIOLATION {violation.kind}: {violation.text}" for violation in outcome.violations]
    return [f"        {line}" for line in lines]


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    rounds: int
    bad: int
    boots: int
    back_median_s: float
    back_max_s: float
    outage_median_s: float
    outage_max_s: float
    rest_median_s: float
    rest_max_s: float
    budget_s: float


def total(results: Sequence[Result]) -> Totals:
    backs = [result.back_s for result in results if result.back_s is not None] or [0.0]
    outages = [result.outage_s for result in results] or [0.0]
    rests = [result.rest_s for result in results] or [0.0]
    return Totals(
        rounds=len(results),
        bad=sum(bool(result.violations) for result in results),
        boots=sum(result.boots for result in results),
        back_median_s=round(median(backs), 2),
        back_max_s=max(backs),
        outage_median_s=round(median(outages), 2),
        outage_max_s=max(outages),
        rest_median_s=round(median(rests), 2),
        rest_max_s=max(rests),
        budget_s=max((result.budget_s for result in results), default=0.0),
    )


def fault_rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Per fault: how often it was drawn, how often it could not be done, and its rounds' recovery times."""
    rows: list[tuple[str, ...]] = []
    for fault in Fault:
        with_it = [result for result in results if fault.value in result.faults]
        if with_it:
            drawn = sum(result.faults.count(fault.value) for result in with_it)
            undone = sum(result.undone.count(fault.value) for result in with_it)
            sums = total(with_it)
            rows.append(
                (
                    fault.value,
                    str(drawn),
                    str(undone),
                    f"{sums.back_median_s:.1f}",
                    f"{sums.back_max_s:.1f}",
                    f"{sums.outage_median_s:.1f}",
                    f"{sums.outage_max_s:.1f}",
                    str(sums.bad),
                )
            )
    return rows


FAULT_HEADERS = ("fault", "drawn", "not possible", "back: median", "max", "outage: median", "max s", "violations")


def summary_lines(results: Sequence[Result]) -> list[str]:
    sums = total(results)
    return [
        f"{sums.rounds} rounds, {sums.bad} with a violation; guests booted {sums.boots} times",
        f"guests back after healing: median {sums.back_median_s:.1f} s, longest {sums.back_max_s:.1f} s "
        f"(budget {sums.budget_s:.0f} s); cluster at rest: median {sums.rest_median_s:.1f} s, "
        f"longest {sums.rest_max_s:.1f} s",
        f"longest outage of a guest in a round: median {sums.outage_median_s:.1f} s, longest {sums.outage_max_s:.1f} s",
    ]


def record(results: Sequence[Result]) -> str:
    """``docs/reference/chaos.md``."""
    by_seed = [(seed, [r for r in results if r.seed == seed]) for seed in sorted({r.seed for r in results})]
    sums = total(results)
    lines = [
        *_RECORD_HEAD,
        f"**{sums.rounds} rounds, {sums.bad} with a violation.**",
        "",
        *_table(
            ("seed", "rounds", "hosts / etcd / vms", "power switch", "violations", "guests booted"),
            (
                (
                    str(seed),
                    _ranges(r.number for r in found),
                    f"{found[0].hosts} / {found[0].etcd} / {found[0].vms}",
                    "yes" if found[0].fence else "no",
                    str(sum(bool(r.violations) for r in found)),
                    str(sum(r.boots for r in found)),
                )
                for seed, found in by_seed
            ),
        ),
        "",
        f"After healing every guest ticked again within {sums.back_max_s:.1f} s (median {sums.back_median_s:.1f} s; "
        "0 for rounds in which none had stopped).",
        f"The whole cluster was at rest within {sums.rest_max_s:.1f} s (median {sums.rest_median_s:.1f} s). "
        f"The budget was {sums.budget_s:.0f} s.",
        f"The longest outage of a guest in a round was {sums.outage_median_s:.1f} s in the median and "
        f"{sums.outage_max_s:.1f} s at most;",
        "it has the time of the fault itself in it, and of stops that were asked for.",
        "",
        *_table(FAULT_HEADERS, fault_rows(results)),
        "",
        *_RECORD_END,
    ]
    if wrong := [(r, words) for r in results for words in r.violations]:
        lines += ["", "## Violations", ""]
        lines += [f"* seed {r.seed}, round {r.number}: {words}" for r, words in wrong]
    return "\n".join(lines) + "\n"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(headers)} |", f"|{'---|' * len(headers)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _ranges(numbers: Iterable[int]) -> str:
    """1-4, 7, 9-10"""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


_RECORD_HEAD = (
    "# Chaos on real hosts: the record",
    "",
    "Written by `vmha lab chaos --results FILE --record docs/reference/chaos.md`. [The lab's chaos](lab-chaos.md) says",
    "what a round is and how it is judged.",
    "",
)
_RECORD_END = (
    "A round has one or two faults, and every other one a migration or a drain under way. Each line has the times of",
    "all rounds its fault was in. *Not possible*: what was drawn could not be done at that instant (the host was off",
    "already, the vm ran nowhere, the cluster refused the target); a copy that the start gate refused counts as done.",
)
