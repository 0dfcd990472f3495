"""The phases of a run: each is done between two looks at what everything has cost so far."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.etcd import RealEtcd

from bench.measure import progress
from bench.scale_cluster import Cluster, NotInTime
from bench.scale_result import Phase, Result, latencies
from bench.scale_watch import ROUTINE
from vmha.operator import nodes as on_nodes

QUIET_S = 3.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Run:
    def __init__(self, cluster: Cluster, result: Result, *, timeout_s: float) -> None:
        self.cluster, self.result, self.timeout_s = cluster, result, timeout_s

    # --- what is measured

    async def join(self, joining: Awaitable[None]) -> None:
        async with self.phase("join"):
            await joining

    async def cold_start(self, vms: int) -> None:
        cluster = self.cluster
        async with self.phase("cold start") as latency:
            began_at = cluster.clock.now()
            await cluster.start_vms(vms)
            await cluster.until(cluster.all_run, "all vms run", timeout_s=self.timeout_s)
            latency.update(latencies([since - began_at for _, _, since in cluster.watcher.running.values()]))

    async def idle(self, seconds: float) -> None:
        async with self.phase("idle"):
            await asyncio.sleep(seconds)

    async def lose(self, names: Sequence[str]) -> None:
        """All at once."""
        if not names:
            return
        cluster = self.cluster
        async with self.phase("one lost" if len(names) == 1 else f"{len(names)} lost") as latency:
            theirs = [vm for name in names for vm in cluster.watcher.on(name)]
            began_at = await cluster.lose(names)
            await cluster.until(cluster.all_run, "all run elsewhere", timeout_s=self.timeout_s)
            latency.update(latencies([cluster.watcher.running[vm][2] - began_at for vm in theirs]))

    async def drain(self, names: Sequence[str]) -> None:
        """One after the other: when one is empty it is given back, and the next is drained."""
        if not names:
            return
        cluster, each = self.cluster, []
        async with self.phase(f"drain of {len(names)}") as latency:
            for name in names:
                began_at = cluster.clock.now()
                await on_nodes.drain(cluster.operator, name)
                empty = lambda name=name: not cluster.watcher.on(name) and cluster.all_run(off=[name])  # noqa: E731
                await cluster.until(empty, f"{name} is empty", timeout_s=self.timeout_s)
                each.append(cluster.clock.now() - began_at)
                await on_nodes.undrain(cluster.operator, name)
            latency.update(latencies(each))

    async def settle(self) -> None:
        """Between two phases; whatever goes on then is the next phase's."""
        try:
            await self.cluster.quiet(for_s=QUIET_S, timeout_s=60.0)
        except NotInTime as late:
            progress(str(late))

    async def judge(self) -> None:
        words, watcher = await self.cluster.look(), self.cluster.watcher
        begun = {name: count for word in words for name, count in word["sessions"].items()}
        self.result.sessions_begun_again = sum(max(0, count - 1) for count in begun.values())
        self.result.beats_not_held = sorted(set(watcher.fenced.values()) - self.cluster.lost)
        self.result.leaders = watcher.leaders
        self.result.crashes = [crash for word in words for crash in word["crashes"]]
        found = await self.cluster.violations()
        self.result.violations = None if found is None else [violation.text for violation in found]

    # --- measuring

    @asynccontextmanager
    async def phase(self, name: str) -> AsyncIterator[dict[str, float]]:
        """The body fills in latencies."""
        progress(name)
        watcher, clock = self.cluster.watcher, self.cluster.clock
        before, etcd = await self.cluster.look(), self.cluster.etcd
        etcd_before, sent_before = cpu_of(etcd), sent_by(etcd)
        seen, began_at = Counter(watcher.seen), clock.now()
        latency: dict[str, float] = {}
        try:
            yield latency
        except NotInTime:
            name += " (not to its end)"
            raise
        finally:
            took_s, written = clock.now() - began_at, watcher.seen - seen
            self.result.phases.append(
                Phase(
                    name=name,
                    rest_s=round(took_s, 2),
                    events=written.total(),
                    events_per_s=round(written.total() / took_s, 1),
                    beats=written[ROUTINE],
                    etcd_cpu_s=round(cpu_of(etcd) - etcd_before, 2),
                    etcd_sent_mib=round(sent_by(etcd) - sent_before, 1),
                    load=round(os.getloadavg()[0], 1),
                    latency_s=latency,
                    written={kind: count for kind, count in sorted(written.items()) if kind != ROUTINE},
                    **_costs(before, await self.cluster.look()),
                )
            )
            progress(f"{name}: {took_s:.1f} s")


def _costs(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
    """Between two looks: of the leader's process, and of the others."""
    cpu_s = [now["cpu_s"] - then["cpu_s"] for now, then in zip(after, before, strict=True)]
    leader = after[0]
    return {
        "leader_cpu_s": round(cpu_s[0], 2),
        "hosts_cpu_s": round(sum(cpu_s[1:]), 2),
        "stall_s": round(leader["stall_s"], 3),
        "turn_cpu_s": round(leader["turn_cpu_s"], 3),
        "long_turns": leader["long_turns"] - before[0]["long_turns"],
        "leader_peak_mib": round(leader["peak_mib"], 1),
        "stood_in": leader["stood_in"],
    }


def cpu_of(etcd: RealEtcd) -> float:
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{etcd.pid(0)}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def sent_by(etcd: RealEtcd) -> float:
    """MiB to its clients so far: what it was asked for, and what it told those who watch."""
    return etcd.counts(0).get("etcd_network_client_grpc_sent_bytes_total", 0.0) / 2**20
