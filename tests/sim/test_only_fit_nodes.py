"""Law 4: a node is given vms only while its session lives, its guard is armed and it has said what runs there.

``cluster.violations()`` holds every commit of a leader against that (``vmha.sim.judge.of_fitness``).
"""

import asyncio

from tests.sim.probes import add_running, given_to, prefer, raw, runs_on
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import NodeName
from vmha.model.settings import ClusterConfig, Fencing, Profile, Proof


def test_node_whose_guard_is_gone_is_given_nothing_until_it_is_back() -> None:
    async def scene(cluster: Cluster) -> None:
        host = cluster.hands.host("n1")
        host.kill_guard()
        await asyncio.sleep(3.0)
        domain = await prefer(cluster, "n1", "n2")
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True, failover_domain=domain)
        await cluster.rest()
        assert cluster.violations() == []
        assert cluster.where("web") == ["n2"]
        assert given_to(cluster, "web", "n1") == []
        back_at = asyncio.get_running_loop().time()
        host.start_guard()
        await runs_on(cluster, "web", "n1", timeout_s=30.0)
        assert min(given_to(cluster, "web", "n1")) > back_at
        assert cluster.violations() == []

    in_cluster(scene)


def test_node_that_boots_before_its_libvirtd_is_given_nothing_until_it_has_looked() -> None:
    """Fenced, and booted at once: nobody could know what runs there, and its vm would come home at once."""

    async def scene(cluster: Cluster) -> None:
        await cluster.hands.register("n1", fence=True)
        await add_running(cluster, "web", on=("n1", "n2"))
        host = cluster.hands.host("n1")
        host.cut()
        await until(lambda: not host.has_power, what="the power is cut")
        await runs_on(cluster, "web", "n2", timeout_s=30.0)
        host.heal()
        host.power_on()
        host.stop_libvirtd()
        booted_at = asyncio.get_running_loop().time()
        await asyncio.sleep(20.0)
        assert cluster.violations() == []
        assert cluster.where("web") == ["n2"]
        host.start_libvirtd()
        looked_at = asyncio.get_running_loop().time()
        await runs_on(cluster, "web", "n1", timeout_s=60.0)
        assert [at for at in given_to(cluster, "web", "n1") if booted_at < at <= looked_at] == []
        assert cluster.violations() == []

    in_cluster(scene)


def test_node_that_is_silent_is_given_nothing_while_its_session_is_on_record_for_want_of_a_proof() -> None:
    async def scene(cluster: Cluster) -> None:
        fencing = Fencing(accept=(Proof.OPERATOR_CONFIRMED,))
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, fencing=fencing))
        await add_running(cluster, "web", on=("n3", "n2"))
        await cluster.hands.stop("web")
        await cluster.rest()
        cluster.hands.host("n3").power_off()
        await asyncio.sleep(30.0)
        assert raw(cluster, cluster.world.keys.beat(NodeName("n3")))
        lost_at = asyncio.get_running_loop().time()
        await cluster.hands.start("web")
        await runs_on(cluster, "web", "n2", timeout_s=30.0)
        assert [at for at in given_to(cluster, "web", "n3") if at > lost_at] == []
        cluster.hands.host("n3").power_on()
        await runs_on(cluster, "web", "n3", timeout_s=60.0)
        assert cluster.violations() == []

    in_cluster(scene)
