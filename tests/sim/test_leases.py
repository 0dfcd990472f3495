"""What an etcd that elects one leader after another does to leases: a lease that lives on says nothing, either."""

import asyncio

from tests.sim.probes import add_running, leader_of, runs_on
from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import NodeName
from vmha.model.settings import PROFILES, Profile

TIMING = PROFILES[Profile.TUNED]


def has_lease(cluster: Cluster, node: str) -> bool:
    return cluster.world.etcd.get(cluster.world.keys.session(NodeName(node))) is not None


def test_node_that_died_goes_by_its_beats_while_its_lease_is_extended() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n3", "n2"))
        assert leader_of(cluster) != "n3"
        cluster.world.etcd.elect(True)
        cluster.hands.host("n3").power_off()
        await asyncio.sleep(TIMING.dead_after_s - 1.0)
        assert has_lease(cluster, "n3"), "by now it would have run out"
        assert cluster.where("web") == []
        await runs_on(cluster, "web", "n2", timeout_s=5.0)
        cluster.hands.host("n3").power_on()
        await runs_on(cluster, "web", "n3", timeout_s=60.0)
        cluster.world.etcd.elect(False)
        await cluster.rest()
        assert cluster.where("web") == ["n3"]
        assert cluster.violations() == []

    in_cluster(scene)


def test_leader_that_died_is_followed_over_the_channel_although_its_lease_lives_on() -> None:
    async def scene(cluster: Cluster) -> None:
        former = leader_of(cluster)
        others = tuple(name for name in ("n1", "n2", "n3") if name != former)
        await add_running(cluster, "web", on=(former, *others))
        cluster.world.etcd.elect(True)
        cluster.hands.host(former).power_off()
        await runs_on(cluster, "web", others[0], timeout_s=2 * TIMING.dead_after_s)
        assert leader_of(cluster) in others
        assert cluster.violations() == []

    in_cluster(scene, peers=True)


def test_without_a_channel_the_office_of_a_leader_that_died_waits_for_its_lease() -> None:
    """Nothing is lost by it but time, and no cluster elects for ever."""

    async def scene(cluster: Cluster) -> None:
        former = leader_of(cluster)
        others = tuple(name for name in ("n1", "n2", "n3") if name != former)
        await add_running(cluster, "web", on=(former, *others))
        cluster.world.etcd.elect(True)
        cluster.hands.host(former).power_off()
        await asyncio.sleep(4 * TIMING.dead_after_s)
        assert cluster.where("web") == []
        cluster.world.etcd.elect(False)
        await runs_on(cluster, "web", others[0], timeout_s=2 * TIMING.lease_ttl_s + TIMING.dead_after_s)
        assert cluster.violations() == []

    in_cluster(scene)
