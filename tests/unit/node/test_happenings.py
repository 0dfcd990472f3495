"""Recoveries and migrations, counted: once in the cluster, in phases that add up, whoever leads."""

import pytest

from tests.sim.probes import add_running, answered, leader_of, runs_on
from tests.sim.test_migration_faults import migrating, one_instance
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.node.happenings import PHASES, Happenings
from vmha.node.member import Member

NODES = ("n1", "n2", "n3")


def follow_all(cluster: Cluster) -> dict[str, Happenings]:
    found = {}
    for node in NODES:
        member = cluster.hands.host(node).member
        assert member
        found[node] = follow(cluster, member)
    return found


def follow(cluster: Cluster, member: Member) -> Happenings:
    happenings = Happenings(cluster.world.clock, is_leading=lambda: member.leader.term is not None)
    happenings.follow(member.mirror, cluster.world.keys.prefix)
    return happenings


@pytest.mark.parametrize("is_leader", [True, False])
def test_a_recovery_is_counted_once_and_its_phases_add_up_also_when_the_leader_was_lost(is_leader: bool) -> None:
    async def scene(cluster: Cluster) -> None:
        told = follow_all(cluster)
        leader = leader_of(cluster)
        lost = leader if is_leader else next(node for node in NODES if node != leader)
        await add_running(cluster, "web", on=(lost, *(node for node in NODES if node != lost)))
        await runs_on(cluster, "web", lost, timeout_s=20.0)
        cluster.hands.host(lost).cut()
        left = [told[node] for node in NODES if node != lost]
        await until(lambda: any(one.failover.count for one in left), what="a recovery counted", timeout_s=60.0)
        assert sum(one.failover.count for one in left) == 1
        for phase in PHASES:
            assert sum(one.phases[phase].count for one in left) == 1
        in_all = sum(one.failover.total for one in left)
        assert sum(one.phases[phase].total for one in left for phase in PHASES) == pytest.approx(in_all)
        assert sum(one.phases["proven"].total for one in left) > 0.0

    in_cluster(scene)


def test_a_migration_is_counted_with_what_it_took() -> None:
    async def scene(cluster: Cluster) -> None:
        told = follow_all(cluster)
        await migrating(cluster, "copying")
        await one_instance(cluster)
        await cluster.rest()
        counts = [one.migrations for one in told.values() if sum(one.migrations.values())]
        assert counts == [{"done": 1, "failed": 0, "cancelled": 0, "lost": 0}]
        (one,) = [one for one in told.values() if one.migration.count]
        assert (one.migration.count, one.downtime.count) == (1, 1)
        assert 0.0 < one.downtime.total < one.migration.total

    in_cluster(scene)


def test_a_migration_that_is_called_off_is_counted_as_that() -> None:
    async def scene(cluster: Cluster) -> None:
        told = follow_all(cluster)
        await migrating(cluster, "copying")
        cancel = await cluster.hands.cancel_migration("web")
        await answered(cluster, cancel.id, timeout_s=30.0)
        await cluster.rest()
        results = {name: sum(one.migrations[name] for one in told.values()) for name in ("done", "cancelled")}
        assert results == {"done": 0, "cancelled": 1}
        assert sum(one.migration.count for one in told.values()) == 0

    in_cluster(scene)


def test_a_migration_whose_target_is_lost_under_way_is_no_success() -> None:
    async def scene(cluster: Cluster) -> None:
        told = follow_all(cluster)
        await migrating(cluster, "copying")
        cluster.hands.host("n2").cut()
        await until(
            lambda: any(sum(one.migrations.values()) for one in told.values()), what="an end counted", timeout_s=60.0
        )
        assert sum(one.migrations["failed"] for one in told.values()) == 1
        assert sum(one.migrations["done"] for one in told.values()) == 0

    in_cluster(scene)
