"""What a run of ``bench.scale`` has found, and how it is printed."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """``rest_s``: until what was asked for had come about. The other costs are of that time.

    ``stall_s``: the longest time for which the loop of the leader's process stood; ``long_turns``: how often it stood
    for more than 50 ms; ``turn_cpu_s``: its longest turn in processor time, which is what is the product's in that.
    ``hosts_cpu_s``: all processes but the leader's and etcd's. ``etcd_sent_mib``: what etcd sent to all its clients.
    ``stood_in``: what stood in the way of the leader's loop, if that was asked for.
    """

    name: str
    rest_s: float
    events: int
    events_per_s: float
    beats: int
    leader_cpu_s: float
    etcd_cpu_s: float
    etcd_sent_mib: float = 0.0
    hosts_cpu_s: float
    stall_s: float
    turn_cpu_s: float
    long_turns: int
    leader_peak_mib: float
    load: float
    latency_s: dict[str, float] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    stood_in: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Result:
    """``beats_not_held``: hosts that were fenced though nobody took them away. ``violations`` None: nothing ran."""

    agents: str
    nodes: int
    vms: int
    processes: int
    beat_s: float
    hold_s: float
    lease_s: int
    cores: int
    phases: list[Phase] = field(default_factory=list)
    beats_not_held: list[str] = field(default_factory=list)
    sessions_begun_again: int = 0
    leaders: int = 0
    crashes: list[str] = field(default_factory=list)
    violations: list[str] | None = None
    broken_off: str = ""


def latencies(found: Sequence[float]) -> dict[str, float]:
    """Seconds; ``of``: how many there are."""
    if not found:
        return {}
    ranked = sorted(found)
    p99 = ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))]
    late = {"median": statistics.median(ranked), "p99": p99, "max": ranked[-1]}
    return {"of": len(ranked), **{what: round(seconds, 2) for what, seconds in late.items()}}


_HEAD = (
    "PHASE",
    "REST",
    "EVENTS/S",
    "OF",
    "MEDIAN",
    "P99",
    "MAX",
    "LEADER CPU",
    "ETCD CPU",
    "ETCD MIB",
    "STALL",
    ">50 MS",
    "TURN CPU",
    "LEADER MIB",
    "LOAD",
)


def table(result: Result) -> str:
    rows = [_HEAD, *(_row(phase) for phase in result.phases)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", *_words(result)]
    return "\n".join(lines)


def _row(phase: Phase) -> tuple[str, ...]:
    late = phase.latency_s
    times = (f"{late[what]:.2f}" if late else "-" for what in ("median", "p99", "max"))
    costs = (
        f"{phase.leader_cpu_s:.2f}",
        f"{phase.etcd_cpu_s:.2f}",
        f"{phase.etcd_sent_mib:.0f}",
        f"{phase.stall_s:.2f}",
    )
    about = (f"{phase.long_turns}", f"{phase.turn_cpu_s:.3f}", f"{phase.leader_peak_mib:.0f}", f"{phase.load:.1f}")
    of = f"{late['of']:.0f}" if late else "-"
    return (phase.name, f"{phase.rest_s:.1f}", f"{phase.events_per_s:.0f}", of, *times, *costs, *about)


def _words(result: Result) -> list[str]:
    words = [
        f"{result.agents} agents: {result.nodes} nodes, {result.vms} vms, on {result.cores} cores; "
        f"beat {result.beat_s:g} s, hold {result.hold_s:g} s, lease {result.lease_s} s"
    ]
    if result.processes:
        words[0] += f"; {result.processes} processes of hosts"
    for phase in result.phases:
        if phase.name == "idle":
            other = phase.events - phase.beats
            words.append(
                f"idle for {phase.rest_s:.0f} s: {phase.beats / result.nodes:.1f} beats a node; "
                f"beyond them {other / result.nodes:.2f} writes a node {phase.written or ''}".rstrip()
            )
        words += [
            f"{phase.name}: stood for {one['s']:.3f} s ({one['cpu_s']:.3f} s of it at work) in {one['in']}"
            for one in phase.stood_in
        ]
    words.append(f"hosts that did not hold their beats: {', '.join(result.beats_not_held) or 'none'}")
    if result.sessions_begun_again:
        words.append(f"sessions begun again: {result.sessions_begun_again}")
    judged = "not judged: nothing ran" if result.violations is None else f"{len(result.violations)}"
    words.append(f"leaders: {result.leaders}; vms that ran twice or other breaches: {judged}")
    words += [f"BREACH: {text}" for text in (result.violations or [])[:5]]
    words += [f"CRASH: {text}" for text in result.crashes[:5]]
    words += [f"BROKEN OFF: {result.broken_off}"] if result.broken_off else []
    return words
