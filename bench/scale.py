"""``python -m bench.scale`` (``make scale``): a large cluster on one real etcd, all on this machine.

By default one leader with 500 nodes and 10,000 vms, whose agents are played; with ``--agents real`` every agent is the
product, as many as the machine carries. Phases: cold start, idle, one node lost, ten lost at once, a rolling drain.
What can be concluded from which: docs/reference/scale.md.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from typing import Any

from tests.support.etcd import RealEtcd

from bench.measure import progress
from bench.scale_cluster import Cluster, NotInTime
from bench.scale_played import TIMING, played_agents
from bench.scale_real import GROUP, real_agents, timing_for
from bench.scale_result import Result, table
from bench.scale_run import Run
from vmha.model.settings import Timing

PLAYED, REAL = "played", "real"
DELIVERIES_PER_S = 15_000
"""So many beats a second two cores bring to all real agents together, with others at work: --beat is chosen by it."""
SHORTEST_BEAT_S = 2.0
FEWEST = {PLAYED: {"nodes": 8, "vms": 1}, REAL: {"nodes": GROUP + 1, "vms": 0}}
_DEFAULTS = {PLAYED: (500, 10_000), REAL: (48, 192)}
_ETCD = {"heartbeat-interval": "100", "election-timeout": "1000"}
"""Its own defaults; tests use shorter ones."""


def _of(asked: argparse.Namespace, timing: Timing) -> Result:
    return Result(
        agents=asked.agents,
        nodes=asked.nodes,
        vms=asked.vms,
        processes=asked.processes if asked.agents == REAL else 0,
        beat_s=timing.beat_s,
        hold_s=timing.hold_s,
        lease_s=timing.lease_ttl_s,
        cores=os.cpu_count() or 1,
    )


async def measure(asked: argparse.Namespace) -> Result:
    with RealEtcd(options=_ETCD) as etcd:
        return await (_real if asked.agents == REAL else _played)(etcd, asked)


async def _played(etcd: RealEtcd, asked: argparse.Namespace) -> Result:
    progress(f"writing {asked.vms} vms and {asked.nodes} nodes")
    async with played_agents(etcd, asked.nodes, asked.vms, stalls=asked.stalls) as cluster:
        return await _run(cluster, _of(asked, TIMING), asked, joining=None)


async def _real(etcd: RealEtcd, asked: argparse.Namespace) -> Result:
    timing = timing_for(asked.beat or max(SHORTEST_BEAT_S, round(asked.nodes**2 / DELIVERIES_PER_S, 1)))
    async with real_agents(etcd, asked.nodes, asked.processes, timing, stalls=asked.stalls) as cluster:
        joining = cluster.join(timeout_s=asked.timeout)
        return await _run(cluster, _of(asked, timing), asked, joining=joining)


async def _run(
    cluster: Cluster, result: Result, asked: argparse.Namespace, *, joining: Coroutine[Any, Any, None] | None
) -> Result:
    run = Run(cluster, result, timeout_s=asked.timeout)
    try:
        if joining is not None:
            await run.join(joining)
        await _phases(run, asked)
    except NotInTime as late:
        result.broken_off = str(late)
        progress(f"broken off: {late}")
    await run.judge()
    return result


async def _phases(run: Run, asked: argparse.Namespace) -> None:
    """Nodes that are lost or drained are of different groups, so that no vm loses all of its own."""
    groups = run.cluster.groups
    first, *others = [group[0] for group in groups] + [group[1] for group in groups[1:] if len(group) > 1]
    if asked.vms:
        await run.cold_start(asked.vms)
    await run.settle()
    await run.idle(asked.idle)
    if asked.vms:
        await run.lose([first])
        await run.settle()
        await run.lose(others[: asked.lost])
        await run.settle()
        await run.drain([group[-1] for group in groups][: asked.drained])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description="See docs/reference/scale.md.")
    parser.add_argument("--agents", choices=(PLAYED, REAL), default=PLAYED, help="who plays the nodes (played)")
    parser.add_argument("--nodes", type=int, metavar="N", help="(500 played ones, 48 real ones)")
    parser.add_argument("--vms", type=int, metavar="N", help="(10,000; with real agents 192, and 0: only beats)")
    parser.add_argument("--processes", type=int, metavar="N", help="of real agents' hosts; one is the leader's (3)")
    parser.add_argument("--beat", type=float, metavar="S", help="beat_s of real agents (chosen by the nodes)")
    parser.add_argument("--idle", type=float, default=20.0, metavar="S", help="how long the idle phase is (20)")
    parser.add_argument("--lost", type=int, default=10, metavar="N", help="nodes lost at once (10)")
    parser.add_argument("--drained", type=int, default=5, metavar="N", help="nodes drained one after the other (5)")
    parser.add_argument("--timeout", type=float, default=240.0, metavar="S", help="longest time of a phase (240)")
    parser.add_argument("--stalls", action="store_true", help="say what stood in the way of the leader's loop")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser


def asked_for(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Checked as a whole before anything begins."""
    parser = _parser()
    asked = parser.parse_args(words)
    nodes, vms = _DEFAULTS[asked.agents]
    asked.nodes = nodes if asked.nodes is None else asked.nodes
    asked.vms = vms if asked.vms is None else asked.vms
    if asked.agents == PLAYED:
        for name in ("processes", "beat"):
            if getattr(asked, name) is not None:
                parser.error(f"--{name}: {getattr(asked, name)}: played agents have none (accepted with --agents real)")
    asked.processes = 3 if asked.processes is None else asked.processes
    for name, fewest in {**FEWEST[asked.agents], "processes": 2, "lost": 0, "drained": 0}.items():
        if getattr(asked, name) < fewest:
            parser.error(f"--{name}: {getattr(asked, name)}: too few (accepted: {fewest} or more)")
    for name in ("idle", "timeout", "beat"):
        if getattr(asked, name) is not None and not getattr(asked, name) > 0:
            parser.error(f"--{name}: {getattr(asked, name):g}: too short (accepted: more than 0 seconds)")
    return asked


def main() -> int:
    asked = asked_for()
    result = asyncio.run(measure(asked))
    print(json.dumps(asdict(result), indent=1) if asked.json else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
