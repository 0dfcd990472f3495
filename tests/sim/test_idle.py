"""A cluster in which nothing happens writes beats and nothing else: leases are renewed, which is no write."""

import asyncio

from tests.support.worlds import Cluster, in_cluster
from vmha.leader.leader import LONGEST_WAIT_S
from vmha.model.settings import PROFILES, Profile

MINUTE_S = 60.0


def test_cluster_at_rest_writes_nothing_but_beats() -> None:
    async def scene(cluster: Cluster) -> None:
        for number in range(6):
            await cluster.hands.add(f"vm{number}", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        world = cluster.world
        before = world.etcd.list(world.keys.prefix)
        known = {kv.key: kv.mod_revision for kv in before.items}
        await asyncio.sleep(MINUTE_S)
        after = world.etcd.list(world.keys.prefix)
        written = {kv.key for kv in after.items if known.get(kv.key) != kv.mod_revision}
        assert known.keys() == {kv.key for kv in after.items}
        assert written == {world.keys.beat(name) for name in world.hosts}
        beat_s = PROFILES[Profile.TUNED].beat_s
        assert after.revision - before.revision <= len(world.hosts) * (MINUTE_S / beat_s + 1)

    in_cluster(scene, nodes=3)


def test_leader_of_a_cluster_at_rest_makes_no_plan_for_beats_that_come_in_time() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("vm0", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        (leader,) = (
            host.member.leader for host in cluster.world.hosts.values() if host.member and host.member.leader.term
        )
        before = leader.plan_took.count
        await asyncio.sleep(MINUTE_S)
        assert leader.plan_took.count - before <= MINUTE_S / LONGEST_WAIT_S

    in_cluster(scene, nodes=3)
