"""How long ``vmha status`` takes: the whole command, from the start of the process to its end.

The cluster is a real etcd on loopback, filled with the keys of a small and of a large cluster. The baseline is
``etcdctl`` fetching the same keys as they are, which decodes nothing and explains nothing.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from tests.support.etcd import RealEtcd

from bench.labs import vmha_command
from bench.measure import Run, Target, progress
from bench.ticks import now_s
from bench.world import records
from vmha.model.keys import Keys, encode
from vmha.store.etcd import EtcdStore
from vmha.store.port import Put

SIZES = {(10, 3): 0.3, (10_000, 500): 0.5}
_A_BATCH = 100
_AT_ONCE = 4


def names() -> list[str]:
    return [f"status.{vms}" for vms, _ in SIZES]


def status(run: Run) -> None:
    for (vms, nodes), at_most_s in SIZES.items():
        if run.wants([f"status.{vms}"]):
            with RealEtcd() as etcd:
                asyncio.run(_fill(etcd.endpoints, vms, nodes))
                _measure(run, etcd.endpoints, vms, nodes, at_most_s)


def _measure(run: Run, endpoints: list[str], vms: int, nodes: int, at_most_s: float) -> None:
    size = f"{vms:,} vms x {nodes} nodes"
    place = {"VMHA_ENDPOINTS": ",".join(endpoints), "VMHA_CLUSTER": "bench", "VMHA_CONFIG": ""}
    environment = os.environ | place
    baseline = f"etcdctl.{vms}"
    if etcdctl := shutil.which("etcdctl"):
        fetch = [etcdctl, f"--endpoints={endpoints[0]}", "get", "--prefix", Keys("bench").prefix]
        bare = run.repeat(lambda: _wall_s(fetch, os.environ | {"ETCDCTL_API": "3"}))
        run.add(baseline, f"etcdctl get --prefix, {size}", bare)
    command = [*vmha_command(), "status"]
    _wall_s(command, environment)  # once for the file cache
    samples = run.repeat(lambda: _wall_s(command, environment))
    run.add(f"status.{vms}", f"vmha status, {size}", samples, baseline=baseline, target=Target(at_most=at_most_s))
    run.add(f"status.{vms}.memory", "its peak memory", [_peak_mib(command, environment)], unit="MiB")


def _wall_s(command: list[str], environment: Mapping[str, str]) -> float:
    """Wall time in seconds of a command that must succeed."""
    began_s = now_s()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return now_s() - began_s


# By a small process in between: the kernel counts the parent's own size at the fork as the child's.
_PEAK = """\
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", 1, 0)])
print(os.wait4(pid, 0)[2].ru_maxrss)
"""


def _peak_mib(command: list[str], environment: Mapping[str, str]) -> float:
    """Peak memory of a command."""
    run = [sys.executable, "-IS", "-c", _PEAK, *command]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


async def _fill(endpoints: list[str], vms: int, nodes: int) -> None:
    """Every key of such a cluster."""
    progress(f"filling an etcd with {vms} vms x {nodes} nodes")
    store = EtcdStore(endpoints)
    gate = asyncio.Semaphore(_AT_ONCE)
    size = 0

    async def write(puts: list[Put]) -> None:
        async with gate:
            await store.txn([], puts)

    try:
        async with asyncio.TaskGroup() as group:
            batch: list[Put] = []
            for key, record in records(vms, nodes, Keys("bench")):
                batch.append(Put(key, encode(record)))
                size += len(batch[-1].value)
                if len(batch) == _A_BATCH:
                    group.create_task(write(batch), name="fill")
                    batch = []
            if batch:
                group.create_task(write(batch), name="fill")
    finally:
        await store.close()
    progress(f"filled: {size / 1e6:.1f} MB")
