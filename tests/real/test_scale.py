"""Twenty real agents in three processes on one real etcd, with a hundred vms: ``make scale``, small, as a test."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from bench.scale_real import RealAgents, real_agents
from bench.scale_watch import ROUTINE

from tests.support.etcd import RealEtcd
from vmha.model.settings import Timing

pytestmark = pytest.mark.real

NODES, VMS = 20, 100
TIMING = Timing(beat_s=0.5, lease_ttl_s=4)  # quick to suspect; a busy machine takes no beats away before 10 s
BEATS_SEEN_IDLE = 4
TIMEOUT_S = 60.0


@pytest.fixture
async def cluster() -> AsyncIterator[RealAgents]:
    etcd = RealEtcd()
    try:
        await asyncio.to_thread(etcd.start)
        async with real_agents(etcd, NODES, 3, TIMING) as running:
            yield running
    finally:
        etcd.stop()


async def each_in_one_place(cluster: RealAgents) -> None:
    """By the word of the hosts, and by the store's: the same."""
    where = await cluster.where()
    assert {vm: hosts for vm, hosts in where.items() if len(hosts) != 1} == {}
    assert {vm: hosts[0] for vm, hosts in where.items()} == {vm: at[0] for vm, at in cluster.watcher.running.items()}
    assert sorted(where) == cluster.vms


async def test_hundred_vms_come_up_once_each_outlive_a_lost_host_and_an_idle_cluster_only_beats(
    cluster: RealAgents,
) -> None:
    await cluster.join(timeout_s=TIMEOUT_S)
    await cluster.start_vms(VMS)
    await cluster.until(cluster.all_run, "all vms run", timeout_s=TIMEOUT_S)
    await each_in_one_place(cluster)

    await cluster.quiet(for_s=2.0, timeout_s=TIMEOUT_S)
    before, beats = cluster.watcher.seen.copy(), cluster.watcher.beats.copy()
    everybody = [cluster.lead, *cluster.nodes]
    beaten = lambda: min((cluster.watcher.beats - beats)[node] for node in everybody) >= BEATS_SEEN_IDLE  # noqa: E731
    await cluster.until(beaten, "everybody beats on", timeout_s=TIMEOUT_S)
    assert set(cluster.watcher.seen - before) == {ROUTINE}

    victim = cluster.watcher.running[cluster.vms[0]][0]
    theirs = cluster.watcher.on(victim)
    assert theirs
    await cluster.lose([victim])
    await cluster.until(cluster.all_run, f"the vms of {victim} run elsewhere", timeout_s=TIMEOUT_S)
    await each_in_one_place(cluster)
    assert all(cluster.watcher.running[vm][0] != victim for vm in theirs)

    assert set(cluster.watcher.fenced.values()) == {victim}
    assert await cluster.violations() == []
    assert [crash for word in await cluster.look() for crash in word["crashes"]] == []
