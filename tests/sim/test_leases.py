"""What an etcd that elects one leader after another does to leases: a lease that lives on says nothing, either."""

import asyncio

from tests.sim.probes import add_running, runs_on, starts
from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import NodeName
from vmha.model.settings import PROFILES, Profile

TIMING = PROFILES[Profile.TUNED]


def has_lease(cluster: Cluster, node: str) -> bool:
    return cluster.world.etcd.get(cluster.world.keys.session(NodeName(node))) is not None


def test_node_that_died_goes_by_its_beats_while_its_lease_is_extended() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1", "n2", "n3"))
        cluster.world.etcd.elect(True)
        cluster.hands.host("n1").power_off()
        await asyncio.sleep(TIMING.dead_after_s - 1.0)
        assert has_lease(cluster, "n1"), "by now it would have run out"
        assert cluster.where("web") == []
        await runs_on(cluster, "web", "n2", timeout_s=5.0)
        cluster.world.etcd.elect(False)
        cluster.hands.host("n1").power_on()
        await runs_on(cluster, "web", "n1", timeout_s=60.0)
        assert len({fact.epoch for fact in starts(cluster, "web")}) == 3  # begun twice, and brought home
        assert cluster.violations() == []

    in_cluster(scene)


def test_leader_that_died_is_followed_by_another_although_its_lease_lives_on() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1", "n2", "n3"))
        leader = cluster.observer.snapshot.leader
        assert leader
        others = {name for name in ("n1", "n2", "n3") if name != leader.value.node}
        cluster.world.etcd.elect(True)
        cluster.hands.host(leader.value.node).power_off()
        await asyncio.sleep(4 * TIMING.dead_after_s)
        cluster.world.etcd.elect(False)
        await cluster.rest()
        assert cluster.where("web")[0] in others
        assert cluster.violations() == []

    in_cluster(scene)
