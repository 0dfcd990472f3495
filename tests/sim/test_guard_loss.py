"""A node whose guard is gone: it receives nothing from that instant on, and what it holds is not hurt."""

import asyncio

import pytest

from tests.sim.probes import add_running, raw
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import NodeName
from vmha.model.keys import decode
from vmha.model.records import ArmedLevel, BeatRecord
from vmha.policy.members.membership import Condition, judge

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


def test_agent_that_has_not_looked_yet_does_not_tell_its_guard_that_nothing_is_there() -> None:
    """Of a guest whose mark or status file is gone the guard knows by what it was told alone."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        host = cluster.hands.host("n1")
        assert host.guard
        await until(lambda: bool(told(cluster)), what="the guard to be told")
        before = told(cluster)
        host.stop_libvirtd()
        host.kill_agent()
        await until(lambda: host.member is not None and host.member.keeper.current is not None, what="another agent")
        await asyncio.sleep(3.0)
        assert told(cluster) == before
        host.start_libvirtd()
        await cluster.rest()
        assert (told(cluster), cluster.where("web")) == (before, ["n1"])

    in_cluster(scene)


def told(cluster: Cluster) -> frozenset[str]:
    guard = cluster.hands.host("n1").guard
    return guard.told if guard else frozenset()


def test_guard_that_is_back_makes_its_node_eligible_again_at_once() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1", "n2", "n3"))
        host = cluster.hands.host("n1")
        host.kill_guard()
        await until(lambda: condition(cluster) is Condition.UNFIT, what="not eligible", timeout_s=AT_ONCE_S)
        await asyncio.sleep(1.0)
        host.start_guard()
        await until(lambda: condition(cluster) is Condition.ONLINE, what="eligible", timeout_s=1.0)
        await until(lambda: promised(cluster) is ArmedLevel.GUARD, what="a beat that promises it", timeout_s=1.0)
        assert cluster.where("web") == ["n1"]
        assert cluster.violations() == []

    in_cluster(scene)


def test_guard_that_comes_back_too_late_ends_the_guests_of_a_node_that_is_cut_off() -> None:
    """While it is away nothing ends them, so nobody may conclude from silence: the beats have said so."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1", "n2", "n3"))
        host = cluster.hands.host("n1")
        host.kill_guard()
        await until(lambda: promised(cluster) is ArmedLevel.NONE, what="a beat that says so", timeout_s=AT_ONCE_S)
        host.cut()
        await asyncio.sleep(30.0)
        assert cluster.where("web") == ["n1"]  # it runs there and nowhere else, however long the silence
        host.start_guard()
        await until(lambda: cluster.where("web") == [], what="the guard ends it", timeout_s=1.0)
        await asyncio.sleep(10.0)
        assert cluster.where("web") == []  # nobody knows yet
        host.heal()
        await until(lambda: len(cluster.where("web")) == 1, what="it runs again", timeout_s=30.0)
        assert cluster.violations() == []

    in_cluster(scene)


def test_watchdog_resets_a_node_whose_guard_does_not_come_back() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1", "n2", "n3"))
        host = cluster.hands.host("n1")
        host.kill_guard()
        host.stop_agent()
        await until(lambda: host.boots == 2, what="it was reset and has booted", timeout_s=15.0)
        await until(lambda: len(cluster.where("web")) == 1, what="web runs again", timeout_s=30.0)
        assert cluster.violations() == []

    in_cluster(scene, watchdog_s=2)


@pytest.mark.parametrize("early_ms", [1, 5, 20, 50, 100, 200, 400])
def test_agent_that_is_back_as_its_guard_comes_to_the_deadline_does_not_stay_without_one(early_ms: int) -> None:
    """It takes a session up that the guard ends before it has told it anything: then it begins another."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1", "n2", "n3"))
        host = cluster.hands.host("n1")
        assert host.guard
        host.stop_agent()
        cluster.world.etcd.slow("n1", 0.1)
        deadline = await host.guard.status()
        assert deadline.kill_at is not None
        await asyncio.sleep(deadline.kill_at - cluster.world.clock.now() - early_ms / 1000)
        host.start_agent()
        await until(lambda: promised(cluster) is ArmedLevel.GUARD, what="its guard is armed", timeout_s=30.0)
        await asyncio.sleep(1.0)
        await until(lambda: condition(cluster) is Condition.ONLINE, what="it is of use again", timeout_s=30.0)
        await until(lambda: len(cluster.where("web")) == 1, what="web runs", timeout_s=60.0)
        assert cluster.violations() == []

    in_cluster(scene)
