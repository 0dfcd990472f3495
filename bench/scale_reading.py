"""A leader that begins in a large cluster: until when it has read everything, how long its loop stands, its memory.

``python -m bench.scale_reading`` fills a real etcd with the records of a whole cluster (bench/world.py), beats for all
of its nodes, and starts one agent in a process of its own. It reads, begins a session, is elected and plans. With
``--cold`` nothing is placed yet, so that the first plan is one of all vms. Hypervisor and guard are twins, all else is
the product.
"""

import argparse
import asyncio
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from tests.support.etcd import RealEtcd
from tests.support.members import Identity

from bench.measure import progress
from bench.scale_cluster import KEYS, write
from bench.scale_fill import LEAD, filling
from bench.scale_hosts import Switches
from bench.scale_played import Players
from bench.scale_stalls import LONG_S
from vmha.fencing.simulated import SimulatedGuard
from vmha.hypervisor.twin.fabric import SimulatedFabric
from vmha.hypervisor.twin.simulated import SimulatedHypervisor
from vmha.model.clock import SystemClock
from vmha.node.member import Member, Ports
from vmha.node.responsive import responsive
from vmha.node.stalls import Stalls
from vmha.sim.quiet import silence_logs
from vmha.sim.world.gate import SimGate
from vmha.store.etcd import EtcdStore


async def lead(endpoints: list[str], folder: str, watch_s: float, stalls: Stalls) -> dict[str, Any]:
    """One agent, from its start on."""
    silence_logs()
    clock = SystemClock()
    fabric = SimulatedFabric(clock)
    fabric.add_host(LEAD, addresses=(LEAD,))
    guard = SimulatedGuard(clock, lambda: fabric.kill_managed(LEAD), list_managed=list)
    store = EtcdStore(endpoints)
    ports = Ports(
        store=store,
        hypervisor=SimulatedHypervisor(fabric, LEAD),
        guard=guard,
        power=Switches(Path(folder)),  # nothing is cut
        gate=SimGate(),
        clock=clock,
    )
    uri = "qemu+tcp://{address}/system"
    member = Member(ports, Identity(LEAD, LEAD, host="machine-lead"), KEYS, migration_uri=uri, migration_address=LEAD)
    began_at, stall_before = clock.now(), stalls.take()
    living = asyncio.create_task(member.run(), name="member")
    await member.mirror.synced.wait()
    read_s = clock.now() - began_at
    await asyncio.sleep(0)
    reading = stalls.take()
    while member.leader.term is None:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0.01)
    leads_s = clock.now() - began_at
    await asyncio.sleep(watch_s)
    snapshot = member.mirror.snapshot()
    found = {
        "vms": len(snapshot.vms),
        "placed": sum(vm.placement is not None for vm in snapshot.vms.values()),
        "read_s": round(read_s, 2),
        "stall_reading_s": round(max(stall_before, reading), 3),
        "leads_s": round(leads_s, 2),
        "stall_leading_s": round(stalls.take(), 3),
        "turns_over_50_ms": stalls.turns.count - dict(stalls.turns.cumulative())[LONG_S],
        "beats": member.keeper.beats.committed,
        "beats_failed": member.keeper.beats.failed,
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "load": round(os.getloadavg()[0], 1),
    }
    living.cancel()
    await asyncio.gather(living, return_exceptions=True)
    guard.stop()
    await store.close()
    return found


async def measure(asked: argparse.Namespace) -> dict[str, Any]:
    with RealEtcd() as etcd:
        store = EtcdStore(etcd.endpoints)
        progress(f"writing {asked.vms} vms and {asked.nodes} nodes")
        await write(store, filling(asked.vms, asked.nodes, is_cold=asked.cold, lead_runs_vms=True))
        beating = asyncio.create_task(Players(store, asked.nodes).beat(), name="beats")
        what = json.dumps({"endpoints": etcd.endpoints, "folder": "/nowhere", "watch_s": asked.watch})
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.scale_reading", "--lead", what, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await child.communicate()
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await store.close()
    found: dict[str, Any] = json.loads(said)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale_reading", description="See docs/reference/scale.md.")
    parser.add_argument("--nodes", type=int, default=500, metavar="N", help="(500)")
    parser.add_argument("--vms", type=int, default=10_000, metavar="N", help="(10,000)")
    parser.add_argument("--cold", action="store_true", help="nothing is placed yet")
    parser.add_argument("--watch", type=float, default=15.0, metavar="S", help="how long its leading is watched (15)")
    parser.add_argument("--lead", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.lead:
        stalls = Stalls()
        with responsive(stalls, SystemClock()) as runner:
            print(json.dumps(runner.run(lead(**json.loads(asked.lead), stalls=stalls))))
        return 0
    print(json.dumps(asyncio.run(measure(asked)), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
