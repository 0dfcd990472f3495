"""A node whose guard is gone: it receives nothing from that instant on, and what it holds is not hurt."""

import asyncio

from tests.sim.probes import add_running, raw
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import NodeName
from vmha.model.keys import decode
from vmha.model.records import ArmedLevel, BeatRecord
from vmha.policy.membership import Condition, judge

N1 = NodeName("n1")
AT_ONCE_S = 0.3


def condition(cluster: Cluster) -> Condition:
    snapshot = cluster.observer.snapshot
    return judge(snapshot.nodes[N1], snapshot, cluster.observer.moment()).condition


def promised(cluster: Cluster) -> ArmedLevel | None:
    value = raw(cluster, cluster.world.keys.beat(N1))
    return decode(BeatRecord, value, where="n1").armed if value else None


def test_node_whose_guard_is_gone_is_not_eligible_from_that_instant_on_and_promises_no_guard_any_more() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1", "n2", "n3"))
        assert (condition(cluster), promised(cluster)) == (Condition.ONLINE, ArmedLevel.GUARD)
        guard = cluster.hands.host("n1").guard
        assert guard
        guard.stop()
        await until(lambda: condition(cluster) is Condition.UNFIT, what="not eligible", timeout_s=AT_ONCE_S)
        await until(lambda: promised(cluster) is ArmedLevel.NONE, what="a beat that says so", timeout_s=AT_ONCE_S)
        await cluster.hands.add("db", memory_mib=1024, vcpus=1, start=True, failover_domain="home")
        await until(lambda: cluster.where("db") == ["n2"], what="new vms go elsewhere", timeout_s=5.0)
        await asyncio.sleep(30.0)
        assert cluster.where("web") == ["n1"]  # nothing is the matter with it
        assert cluster.violations() == []

    in_cluster(scene)
