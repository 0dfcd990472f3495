"""A host that vanishes is powered off sooner where its peers listen for it; one that only looks like it never is."""

import asyncio

import pytest

from tests.sim.probes import add_running, leader_of, restart_agent, runs_on
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.twin.fabric_state import Deed


async def with_switches(cluster: Cluster, *homes: str) -> None:
    for node in cluster.world.hosts:
        await cluster.hands.register(node, fence=True)
    await add_running(cluster, "web", on=homes or ("n1", "n2", "n3"))


def recovery_s(*, peers: bool, leads: bool) -> float:
    """From the power cut until the vm runs elsewhere, in virtual seconds. ``leads``: the lost host led."""

    async def scene(cluster: Cluster) -> float:
        leader = leader_of(cluster)
        others = [str(name) for name in cluster.world.hosts if name != leader]
        home, *rest = (leader, *others) if leads else (*others, leader)
        await with_switches(cluster, home, *rest)
        cluster.hands.host(home).power_off()
        at = cluster.world.clock.now()
        await runs_on(cluster, "web", rest[0], timeout_s=20.0)
        assert cluster.violations() == []
        last = [fact for fact in cluster.world.fabric.history if fact.vm == "web" and fact.deed is Deed.RUNS][-1]
        return last.time - at

    return in_cluster(scene, peers=peers)


@pytest.mark.parametrize("leads", [False, True])
def test_vanished_host_is_recovered_in_three_quarters_of_the_time_when_its_peers_listen(leads: bool) -> None:
    assert recovery_s(peers=True, leads=leads) < recovery_s(peers=False, leads=leads) * 3 / 4


def _powered(cluster: Cluster) -> list[str]:
    return [str(name) for name, host in cluster.world.hosts.items() if host.has_power]


@pytest.mark.parametrize("node", ["n1", "n2", "n3"])
def test_cut_between_the_agents_alone_costs_nobody_anything(node: str) -> None:
    """Whoever it is: the leader, the holder, or the third. Beats go on, so there is no suspicion."""

    async def scene(cluster: Cluster) -> None:
        await with_switches(cluster)
        cluster.hands.host(node).cut_from_peers()
        await asyncio.sleep(30.0)
        assert _powered(cluster) == ["n1", "n2", "n3"]
        assert cluster.where("web") == ["n1"]
        cluster.hands.host(node).heal_peers()
        await cluster.rest()

    in_cluster(scene, peers=True)


@pytest.mark.parametrize("away_s", [1.5, 3.0])
def test_agent_that_is_restarted_costs_its_host_no_power(away_s: float) -> None:
    """Its host refuses the connection: it lives. Beats are late, and after the longer time the lease is gone."""

    async def scene(cluster: Cluster) -> None:
        await with_switches(cluster)
        if leader_of(cluster) == "n1":
            restart_agent(cluster, "n1")
            await cluster.rest()
        host = cluster.hands.host("n1")
        host.stop_agent()
        await asyncio.sleep(away_s)
        host.start_agent()
        await cluster.rest()
        assert _powered(cluster) == ["n1", "n2", "n3"]
        assert cluster.where("web") == ["n1"]

    in_cluster(scene, peers=True)


def test_agent_that_answers_its_peers_after_an_outage_is_not_powered_off_for_being_the_last_one_back() -> None:
    async def scene(cluster: Cluster) -> None:
        await with_switches(cluster)
        cluster.world.etcd.stop()
        await asyncio.sleep(30.0)
        cluster.hands.host("n1").cut_from_store()
        cluster.world.etcd.start()
        await asyncio.sleep(3.0)  # longer than suspicion and a lease take, shorter than the hold
        assert _powered(cluster) == ["n1", "n2", "n3"]
        cluster.hands.host("n1").heal()
        await cluster.rest()
        assert cluster.where("web") == ["n1"]

    in_cluster(scene, peers=True)
