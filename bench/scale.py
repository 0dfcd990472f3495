"""``python -m bench.scale [--nodes N] [--vms N] [--processes N]``: many agents on one real etcd, all on this machine.

Everything but hypervisors, guards and files is the product. Every agent follows every key, so what one machine must
deliver grows with the square of the nodes, where each host of a real cluster bears its own share only: the number of
nodes is bounded by the machine, not by one agent. ``--beat`` stretches the timing until the machine can carry it;
hosts that did not hold their beats all the same are counted and named in the result.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.support.etcd import RealEtcd

from bench.measure import progress
from bench.scale_cluster import GROUP, LargeCluster, NotInTime, large_cluster, timing_for
from bench.scale_watch import ROUTINE
from vmha.operator import nodes as on_nodes

DELIVERIES_PER_S = 15_000
"""So many beats a second two cores bring to all agents together, with others at work: --beat is chosen by it."""
SHORTEST_BEAT_S = 2.0
QUIET_S = 3.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """``rest_s``: until what was asked for had come about. The other costs are of that time."""

    name: str
    rest_s: float
    events: int
    events_per_s: float
    beats: int
    leader_cpu_s: float
    etcd_cpu_s: float
    hosts_cpu_s: float
    stall_s: float
    leader_peak_mib: float
    load: float
    latency_s: dict[str, float] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Result:
    nodes: int
    vms: int
    processes: int
    beat_s: float
    hold_s: float
    lease_s: int
    cores: int
    phases: list[Phase] = field(default_factory=list)
    beats_not_held: list[str] = field(default_factory=list)  # hosts that were fenced though nobody took them away
    sessions_begun_again: int = 0
    leaders: int = 0
    crashes: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    broken_off: str = ""


class Measured:
    """One run: each phase is done between two looks at what everything has cost so far."""

    def __init__(self, cluster: LargeCluster, result: Result, *, timeout_s: float) -> None:
        self.cluster, self.result, self.timeout_s = cluster, result, timeout_s

    @asynccontextmanager
    async def phase(self, name: str) -> AsyncIterator[dict[str, float]]:
        """The body fills in latencies."""
        progress(name)
        watcher, clock = self.cluster.watcher, self.cluster.clock
        before, etcd_before = await self._look(), self._etcd_cpu_s()
        seen, began_at = Counter(watcher.seen), clock.now()
        latency: dict[str, float] = {}
        try:
            yield latency
        except NotInTime:
            name += " (not to its end)"
            raise
        finally:
            await self._take_down(name, before, etcd_before, seen, began_at, latency)

    async def _take_down(
        self,
        name: str,
        before: list[dict[str, Any]],
        etcd_before: float,
        seen: Counter[str],
        began_at: float,
        latency: dict[str, float],
    ) -> None:
        watcher, clock = self.cluster.watcher, self.cluster.clock
        took_s = clock.now() - began_at
        after, etcd_after = await self._look(), self._etcd_cpu_s()
        written = watcher.seen - seen
        self.result.phases.append(
            Phase(
                name=name,
                rest_s=round(took_s, 2),
                events=written.total(),
                events_per_s=round(written.total() / took_s, 1),
                beats=written[ROUTINE],
                leader_cpu_s=round(after[0]["cpu_s"] - before[0]["cpu_s"], 2),
                etcd_cpu_s=round(etcd_after - etcd_before, 2),
                hosts_cpu_s=round(sum(a["cpu_s"] - b["cpu_s"] for a, b in zip(after[1:], before[1:], strict=True)), 2),
                stall_s=round(after[0]["stall_s"], 3),
                leader_peak_mib=round(after[0]["peak_mib"], 1),
                load=round(os.getloadavg()[0], 1),
                latency_s=latency,
                written={kind: count for kind, count in sorted(written.items()) if kind != ROUTINE},
            )
        )
        progress(f"{name}: {took_s:.1f} s")

    async def settle(self) -> None:
        """Between two phases; whatever goes on then is the next phase's."""
        try:
            await self.cluster.quiet(for_s=QUIET_S, timeout_s=60.0)
        except NotInTime as late:
            progress(str(late))

    async def join(self) -> None:
        progress("join")
        clock, etcd_before = self.cluster.clock, self._etcd_cpu_s()
        began_at = clock.now()
        await self.cluster.join(timeout_s=self.timeout_s)
        took_s, after, seen = clock.now() - began_at, await self._look(), self.cluster.watcher.seen
        self.result.phases.append(
            Phase(
                name="join",
                rest_s=round(took_s, 2),
                events=seen.total(),
                events_per_s=round(seen.total() / took_s, 1),
                beats=seen[ROUTINE],
                leader_cpu_s=round(after[0]["cpu_s"], 2),
                etcd_cpu_s=round(self._etcd_cpu_s() - etcd_before, 2),
                hosts_cpu_s=round(sum(word["cpu_s"] for word in after[1:]), 2),
                stall_s=round(after[0]["stall_s"], 3),
                leader_peak_mib=round(after[0]["peak_mib"], 1),
                load=round(os.getloadavg()[0], 1),
            )
        )

    async def cold_start(self, vms: int) -> None:
        cluster = self.cluster
        async with self.phase("cold start") as latency:
            began_at = cluster.clock.now()
            await cluster.start_vms(vms)
            await cluster.until(cluster.all_run, "all vms run", timeout_s=self.timeout_s)
            latency.update(_latencies([since - began_at for _, _, since in cluster.watcher.running.values()]))

    async def lose(self, names: Sequence[str]) -> None:
        cluster = self.cluster
        async with self.phase("one lost" if len(names) == 1 else f"{len(names)} lost") as latency:
            theirs = [vm for name in names for vm in cluster.watcher.on(name)]
            began_at = await cluster.lose(names)
            await cluster.until(cluster.all_run, "all run elsewhere", timeout_s=self.timeout_s)
            latency.update(_latencies([cluster.watcher.running[vm][2] - began_at for vm in theirs]))

    async def drain(self, names: Sequence[str]) -> None:
        cluster = self.cluster
        each = []
        async with self.phase(f"drain of {len(names)}") as latency:
            for name in names:
                began_at = cluster.clock.now()
                await on_nodes.drain(cluster.operator, name)
                empty = lambda name=name: not cluster.watcher.on(name) and cluster.all_run(off=[name])  # noqa: E731
                await cluster.until(empty, f"{name} is empty", timeout_s=self.timeout_s)
                await on_nodes.undrain(cluster.operator, name)
                each.append(cluster.clock.now() - began_at)
            latency.update(_latencies(each))

    async def idle(self, seconds: float) -> None:
        async with self.phase("idle"):
            await asyncio.sleep(seconds)

    async def judge(self) -> None:
        words = await self._look()
        lost = self.cluster.lost
        begun = {name: count for word in words for name, count in word["sessions"].items()}
        self.result.sessions_begun_again = sum(max(0, count - 1) for count in begun.values())
        self.result.beats_not_held = sorted(set(self.cluster.watcher.fenced.values()) - lost)
        self.result.leaders = self.cluster.watcher.leaders
        self.result.crashes = [crash for word in words for crash in word["crashes"]]
        self.result.violations = [violation.text for violation in await self.cluster.violations()]

    async def _look(self) -> list[dict[str, Any]]:
        return await self.cluster.look()

    def _etcd_cpu_s(self) -> float:
        fields = Path(f"/proc/{self.cluster.etcd.pid(0)}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _latencies(found: Sequence[float]) -> dict[str, float]:
    if not found:
        return {}
    ranked = sorted(found)
    p99 = ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))]
    return {"median": round(statistics.median(ranked), 2), "p99": round(p99, 2), "max": round(ranked[-1], 2)}


async def _phases(run: Measured, asked: argparse.Namespace) -> None:
    groups = run.cluster.groups
    await run.join()
    if not asked.vms:
        await run.settle()
        return await run.idle(asked.idle)
    await run.cold_start(asked.vms)
    await run.settle()
    await run.idle(asked.idle)
    first, *others = [group[0] for group in groups] + [group[1] for group in groups[1:]]
    await run.lose([first])
    await run.settle()
    if asked.lost:
        await run.lose(others[: asked.lost])
        await run.settle()
    await run.drain([group[-1] for group in groups][: asked.drained])
    return None


async def measure(asked: argparse.Namespace) -> Result:
    timing = timing_for(asked.beat or max(SHORTEST_BEAT_S, round(asked.nodes**2 / DELIVERIES_PER_S, 1)))
    result = Result(
        nodes=asked.nodes,
        vms=asked.vms,
        processes=asked.processes,
        beat_s=timing.beat_s,
        hold_s=timing.hold_s,
        lease_s=timing.lease_ttl_s,
        cores=os.cpu_count() or 1,
    )
    with RealEtcd(options={"heartbeat-interval": "100", "election-timeout": "1000"}) as etcd:
        async with large_cluster(etcd, asked.nodes, asked.processes, timing) as cluster:
            run = Measured(cluster, result, timeout_s=asked.timeout)
            try:
                await _phases(run, asked)
            except NotInTime as late:
                result.broken_off = str(late)
                progress(f"broken off: {late}")
            await run.judge()
    return result


def table(result: Result) -> str:
    head = (
        "PHASE",
        "REST",
        "EVENTS/S",
        "MEDIAN",
        "P99",
        "MAX",
        "LEADER CPU",
        "ETCD CPU",
        "STALL",
        "LEADER MIB",
        "LOAD",
    )
    rows: list[tuple[str, ...]] = [head]
    for phase in result.phases:
        late = (f"{phase.latency_s[what]:.2f}" if phase.latency_s else "-" for what in ("median", "p99", "max"))
        costs = (f"{value:.2f}" for value in (phase.leader_cpu_s, phase.etcd_cpu_s, phase.stall_s))
        peak, load = f"{phase.leader_peak_mib:.0f}", f"{phase.load:.1f}"
        rows.append((phase.name, f"{phase.rest_s:.1f}", f"{phase.events_per_s:.0f}", *late, *costs, peak, load))
    widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", *_words(result)]
    return "\n".join(lines)


def _words(result: Result) -> list[str]:
    words = [
        f"{result.nodes} nodes, {result.vms} vms, {result.processes} processes of hosts on {result.cores} cores; "
        f"beat {result.beat_s:g} s, hold {result.hold_s:g} s, lease {result.lease_s} s"
    ]
    for phase in result.phases:
        if phase.name == "idle":
            other = phase.events - phase.beats
            words.append(
                f"idle for {phase.rest_s:.0f} s: {phase.beats / result.nodes:.1f} beats a node; "
                f"beyond them {other / result.nodes:.2f} writes a node {phase.written or ''}".rstrip()
            )
    words.append(f"hosts that did not hold their beats: {', '.join(result.beats_not_held) or 'none'}")
    if result.sessions_begun_again:
        words.append(f"sessions begun again: {result.sessions_begun_again}")
    words.append(f"leaders: {result.leaders}; vms that ran twice or other breaches: {len(result.violations)}")
    words += [f"BREACH: {text}" for text in result.violations[:5]]
    words += [f"CRASH: {text}" for text in result.crashes[:5]]
    words += [f"BROKEN OFF: {result.broken_off}"] if result.broken_off else []
    return words


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description="See docs/reference/scale.md.")
    parser.add_argument("--nodes", type=int, default=48, metavar="N", help=f"hosts, at least {GROUP + 1} (48)")
    parser.add_argument("--vms", type=int, default=192, metavar="N", help="(192); 0: only beats")
    parser.add_argument("--processes", type=int, default=3, metavar="N", help="of hosts; one is the leader's (3)")
    parser.add_argument("--beat", type=float, metavar="S", help="beat_s; the other times follow (chosen by the nodes)")
    parser.add_argument("--idle", type=float, default=20.0, metavar="S", help="how long the idle phase is (20)")
    parser.add_argument("--lost", type=int, default=10, metavar="N", help="hosts lost at once (10)")
    parser.add_argument("--drained", type=int, default=5, metavar="N", help="hosts drained one after the other (5)")
    parser.add_argument("--timeout", type=float, default=240.0, metavar="S", help="longest time of a phase (240)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser


def main() -> int:
    parser = _parser()
    asked = parser.parse_args()
    if asked.nodes < GROUP + 1:
        parser.error(f"--nodes: {asked.nodes}: too few (accepted: {GROUP + 1} or more)")
    if asked.processes < 2:
        parser.error(f"--processes: {asked.processes}: one is the leader's (accepted: 2 or more)")
    result = asyncio.run(measure(asked))
    print(json.dumps(asdict(result), indent=1) if asked.json else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
