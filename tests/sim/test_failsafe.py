"""The store is gone, or some can not reach it: which guests go on, and which end before anybody takes them over."""

import asyncio
from collections.abc import Sequence

from tests.sim.probes import add_running, leader_of, raw, restart_agent, runs_on, starts
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.twin.fabric_state import Deed
from vmha.model.ids import NodeName, SessionId
from vmha.model.keys import decode
from vmha.model.records import BeatRecord
from vmha.model.settings import ClusterConfig, Profile
from vmha.model.vm import FailoverDomain, FailoverDomainMember
from vmha.peers.port import AskPromise, Peer, Word

OUTAGE_S = 600.0
HOLD_S = 4.0
DEAD_AFTER_S = 6.0


def beat_of(cluster: Cluster, node: str) -> BeatRecord | None:
    value = raw(cluster, cluster.world.keys.beat(NodeName(node)))
    return decode(BeatRecord, value, where=node) if value else None


def leads(cluster: Cluster) -> NodeName | None:
    leader = cluster.observer.snapshot.leader
    return leader.value.node if leader else None


async def a_vm_on_each(cluster: Cluster, *nodes: str) -> None:
    for node in nodes:
        ranked = (node, *(name for name in cluster.world.hosts if name != node))
        members = tuple(FailoverDomainMember(node=name, priority=rank) for rank, name in enumerate(ranked, start=1))
        await cluster.hands.add_domain(FailoverDomain(name=f"home-{node}", ordered=True, members=members))
        vm = f"on-{node}"
        await cluster.hands.add(vm, memory_mib=1024, vcpus=1, start=True, failover_domain=f"home-{node}")
        await runs_on(cluster, vm, node, timeout_s=10.0)
    await cluster.rest()


def endings(cluster: Cluster, vm: str) -> int:
    return sum(fact.vm == vm and fact.deed is not Deed.STANDS for fact in cluster.world.fabric.history)


async def no_guest_noticed(cluster: Cluster, vms: Sequence[str], seconds: float) -> None:
    before = {vm: endings(cluster, vm) for vm in vms}
    where = {vm: cluster.where(vm) for vm in vms}
    await asyncio.sleep(seconds)
    assert {vm: endings(cluster, vm) for vm in vms} == before
    assert {vm: cluster.where(vm) for vm in vms} == where


def test_ten_minutes_without_etcd_end_no_guest_and_move_none_and_then_all_goes_on() -> None:
    async def scene(cluster: Cluster) -> None:
        nodes = ("n1", "n2", "n3")
        await a_vm_on_each(cluster, *nodes)
        vms = [f"on-{node}" for node in nodes]
        sessions = {node: beat_of(cluster, node).session for node in nodes}
        cluster.world.etcd.stop()
        await no_guest_noticed(cluster, vms, OUTAGE_S)
        cluster.world.etcd.start()
        await no_guest_noticed(cluster, vms, 30.0)
        await cluster.rest()
        assert {node: beat_of(cluster, node).session for node in nodes} == sessions
        cluster.hands.host("n1").power_off()
        await until(lambda: len(cluster.where("on-n1")) == 1, what="recovery goes on", timeout_s=20.0)
        assert cluster.violations() == []

    in_cluster(scene, peers=True)


def test_without_a_channel_law_three_holds_as_ever() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        cluster.world.etcd.stop()
        await until(lambda: cluster.where("web") == [], what="its guard's deadline", timeout_s=HOLD_S)
        cluster.world.etcd.start()
        await until(lambda: len(cluster.where("web")) == 1, what="it runs again", timeout_s=20.0)
        assert cluster.violations() == []

    in_cluster(scene)


def test_switched_off_in_the_settings_it_keeps_nothing_running() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, failsafe=False))
        await until(lambda: (beat := beat_of(cluster, "n1")) is not None and not beat.promisers, what="a beat says so")
        cluster.world.etcd.stop()
        await until(lambda: cluster.where("web") == [], what="its guard's deadline", timeout_s=HOLD_S)

    in_cluster(scene, peers=True)


def test_peer_that_is_lost_during_the_outage_ends_the_failsafe() -> None:
    """Nobody can tell it from one that still has etcd: law 3 holds."""

    async def scene(cluster: Cluster) -> None:
        await a_vm_on_each(cluster, "n1", "n2", "n3")
        cluster.world.etcd.stop()
        await no_guest_noticed(cluster, ("on-n1", "on-n2"), 30.0)
        cluster.hands.host("n3").power_off()
        await until(
            lambda: not cluster.where("on-n1") and not cluster.where("on-n2"), what="deadlines", timeout_s=2 * HOLD_S
        )
        cluster.world.etcd.start()
        for vm in ("on-n1", "on-n2", "on-n3"):
            await until(lambda vm=vm: len(cluster.where(vm)) == 1, what=f"{vm} runs again", timeout_s=30.0)
        await cluster.rest()
        assert cluster.violations() == []

    in_cluster(scene, peers=True)


def test_node_that_alone_can_not_reach_etcd_ends_its_guests_and_others_run_them() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        cluster.hands.host("n1").cut_from_store()
        await runs_on(cluster, "web", "n2", timeout_s=15.0)
        cluster.hands.host("n1").heal()
        await cluster.rest()
        assert cluster.violations() == []

    in_cluster(scene, peers=True)


def test_majority_cut_from_etcd_is_recovered_by_the_one_that_has_it() -> None:
    """n1 and n2 see each other, and n3 alone has etcd: it promises nothing, so they end their guests."""

    async def scene(cluster: Cluster) -> None:
        await a_vm_on_each(cluster, "n1", "n2")
        for node in ("n1", "n2"):
            cluster.hands.host(node).cut_from_store()
        for vm in ("on-n1", "on-n2"):
            await runs_on(cluster, vm, "n3", timeout_s=60.0)
        assert cluster.violations() == []

    in_cluster(scene, peers=True)


def test_two_halves_without_etcd_both_end_their_guests() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_vm_on_each(cluster, "n1", "n3")
        cluster.world.etcd.stop()
        cluster.hands.host("n3").cut_from_peers()
        for vm in ("on-n1", "on-n3"):
            await until(lambda vm=vm: cluster.where(vm) == [], what=f"{vm} ended", timeout_s=2 * HOLD_S)
        cluster.world.etcd.start()
        for vm in ("on-n1", "on-n3"):
            await until(lambda vm=vm: len(cluster.where(vm)) == 1, what=f"{vm} runs again", timeout_s=30.0)
        assert cluster.violations() == []

    in_cluster(scene, peers=True)


def test_etcd_that_comes_back_for_one_node_only_makes_the_others_end_their_guests_first() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_vm_on_each(cluster, "n1", "n2")
        cluster.world.etcd.stop()
        await no_guest_noticed(cluster, ("on-n1", "on-n2"), 60.0)
        for node in ("n1", "n2"):
            cluster.hands.host(node).cut_from_store()
        cluster.world.etcd.start()
        for vm in ("on-n1", "on-n2"):
            await runs_on(cluster, vm, "n3", timeout_s=60.0)
        assert cluster.violations() == []

    in_cluster(scene, peers=True)


def test_agent_restarted_during_the_outage_gives_no_promise_and_gets_none() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_vm_on_each(cluster, "n1", "n2")
        cluster.world.etcd.stop()
        await no_guest_noticed(cluster, ("on-n1", "on-n2"), 30.0)
        restart_agent(cluster, "n3")
        for vm in ("on-n1", "on-n2"):
            await until(lambda vm=vm: cluster.where(vm) == [], what=f"{vm} ended", timeout_s=2 * HOLD_S)
        cluster.world.etcd.start()
        for vm in ("on-n1", "on-n2"):
            await until(lambda vm=vm: len(cluster.where(vm)) == 1, what=f"{vm} runs again", timeout_s=30.0)
        assert cluster.violations() == []

    in_cluster(scene, peers=True)


def test_leader_restarted_as_etcd_comes_back_counts_no_silence_of_the_outage() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_vm_on_each(cluster, "n1", "n2")
        leader = leader_of(cluster)
        vms = [vm for vm in ("on-n1", "on-n2") if cluster.where(vm) != [leader]]
        cluster.world.etcd.stop()
        await no_guest_noticed(cluster, vms, 60.0)
        restart_agent(cluster, leader)
        cluster.world.etcd.start()
        await no_guest_noticed(cluster, vms, 30.0)
        assert cluster.violations() == []

    in_cluster(scene, peers=True)


def test_node_that_joins_while_two_live_on_promises_does_not_take_their_guests_over() -> None:
    """It alone has etcd, and nobody was asked on its behalf: it waits, says so, and nothing runs twice."""

    async def scene(cluster: Cluster) -> None:
        await a_vm_on_each(cluster, "n1", "n2")
        cluster.hands.host("n3").power_off()
        await until(lambda: beat_of(cluster, "n3") is None, what="the eviction of n3", timeout_s=20.0)
        await cluster.rest()
        for node in ("n1", "n2"):
            cluster.hands.host(node).cut_from_store()
        await asyncio.sleep(10 * DEAD_AFTER_S)
        assert cluster.where("on-n1") == ["n1"]
        cluster.hands.host("n3").power_on()
        await until(lambda: leads(cluster) == "n3", what="n3 leads", timeout_s=60.0)
        await no_guest_noticed(cluster, ("on-n1", "on-n2"), 10 * DEAD_AFTER_S)
        assert cluster.violations() == []
        await cluster.hands.confirm_off("n1")
        cluster.hands.host("n1").power_off()
        await runs_on(cluster, "on-n1", "n3", timeout_s=60.0)
        for node in ("n1", "n2"):
            cluster.hands.host(node).heal()
        await cluster.rest()
        assert cluster.violations() == []

    in_cluster(scene, peers=True)


def test_promises_last_no_longer_than_the_settings_allow() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, failsafe_at_most_s=60.0))
        await until(lambda: (beat := beat_of(cluster, "n1")) is not None and beat.failsafe_s == 60.0, what="a beat")
        cluster.world.etcd.stop()
        await no_guest_noticed(cluster, ("web",), 55.0)
        await until(lambda: cluster.where("web") == [], what="the end", timeout_s=5.0 + HOLD_S)

    in_cluster(scene, peers=True)


def test_question_that_lay_at_a_frozen_host_is_answered_late_and_harms_nobody() -> None:
    """n2 stands still between the question and its answer; when it goes on, n1's guests have ended long since."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        cluster.world.etcd.stop()
        await no_guest_noticed(cluster, ("web",), 20.0)
        cluster.hands.host("n2").freeze()
        await until(lambda: cluster.where("web") == [], what="its guard's deadline", timeout_s=2 * HOLD_S)
        await asyncio.sleep(20.0)
        cluster.world.etcd.start()
        cluster.hands.host("n2").thaw()
        await until(lambda: len(cluster.where("web")) == 1, what="it runs again", timeout_s=30.0)
        await cluster.rest()
        assert len(starts(cluster, "web")) == 2
        assert cluster.violations() == []

    in_cluster(scene, peers=True)


def test_peer_that_has_the_store_says_why_it_does_not_promise() -> None:
    async def scene(cluster: Cluster) -> None:
        hub = cluster.world.peers
        beat = beat_of(cluster, "n1")
        assert hub
        assert beat
        asker = hub.channel(NodeName("n1"))
        there = Peer(node=NodeName("n2"), address="n2:7700")
        word = await asker.ask(there, AskPromise(session=beat.session), timeout_s=1.0)
        assert isinstance(word, Word)
        assert "cut off alone" in word.refusal
        cluster.world.etcd.stop()
        await asyncio.sleep(2.0)
        stale = await asker.ask(there, AskPromise(session=SessionId("s-old")), timeout_s=1.0)
        assert isinstance(stale, Word)
        assert "does not know this session" in stale.refusal

    in_cluster(scene, peers=True)


def test_outage_that_was_outlived_stands_in_the_journal() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        cluster.world.etcd.stop()
        await asyncio.sleep(60.0)
        cluster.world.etcd.start()
        await cluster.rest()
        told = [line for line in cluster.world.record.catch_up().lines if "journal" in str(line.written)]
        assert any("no guest was ended" in str(line.written) for line in told)

    in_cluster(scene, peers=True)


def test_status_says_that_there_is_no_failsafe_and_why() -> None:
    async def scene(cluster: Cluster) -> None:
        status = cluster.observer.snapshot.nodes[NodeName("n1")].current_status
        assert status
        assert "no failsafe: this node has no channel to its peers (peers_secret_file)" in status.notes

    in_cluster(scene)
