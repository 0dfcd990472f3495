"""A host that is shut down in good order: its vms leave it, or are stopped; then its session ends. Never for ever."""

import asyncio

import pytest

from tests.sim.probes import add_running, placement, see_at_once
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.fencing.port import State
from vmha.model.ids import NodeName
from vmha.model.records import Phase
from vmha.model.settings import AtShutdown, ClusterConfig, HostShutdown, Profile
from vmha.model.vm import Handover, Migration
from vmha.node.member import Member
from vmha.sim.journal import read_journal
from vmha.sim.world.host import BY_SYSTEMD

IN_A_HURRY = HostShutdown(migrate_s=5.0, stop_s=10.0)


async def configure(cluster: Cluster, wanted: HostShutdown = IN_A_HURRY) -> None:
    await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, on_host_shutdown=wanted))


async def off(cluster: Cluster, *, timeout_s: float) -> None:
    await until(lambda: not cluster.hands.host("n1").has_power, what="n1 to be off", timeout_s=timeout_s)


def has_a_session(cluster: Cluster) -> bool:
    view = cluster.observer.snapshot.nodes.get(NodeName("n1"))
    return view is not None and view.beat is not None


def test_vms_leave_live_and_the_host_goes_off_with_no_session_and_no_proof() -> None:
    async def scene(cluster: Cluster) -> None:
        await configure(cluster)
        await add_running(cluster, "web")
        memory = cluster.world.fabric.host("n1").guests["web"].memory
        cluster.hands.shutdown("n1")
        await off(cluster, timeout_s=20.0)
        await cluster.rest()
        (home,) = cluster.where("web")
        assert cluster.world.fabric.host(home).guests["web"].memory is memory
        assert not has_a_session(cluster)
        assert cluster.observer.snapshot.fenced == {}
        assert cluster.violations() == []

    in_cluster(scene)


def test_vm_that_can_not_be_moved_is_stopped_and_starts_elsewhere_without_waiting_for_proof() -> None:
    async def scene(cluster: Cluster) -> None:
        await configure(cluster)
        await add_running(cluster, "web")
        cluster.world.fabric.fail_migration("web", times=100)
        cluster.hands.shutdown("n1")
        await until(lambda: cluster.where("web") not in ([], ["n1"]), what="it to run elsewhere", timeout_s=20.0)
        await off(cluster, timeout_s=5.0)
        await cluster.rest()
        assert not has_a_session(cluster)
        assert cluster.observer.snapshot.fenced == {}
        assert cluster.violations() == []

    in_cluster(scene)


def test_vms_are_failed_over_without_migration_where_that_is_wanted() -> None:
    async def scene(cluster: Cluster) -> None:
        await configure(cluster, HostShutdown(vms=AtShutdown.FAILOVER))
        await add_running(cluster, "web")
        memory = cluster.world.fabric.host("n1").guests["web"].memory
        cluster.hands.shutdown("n1")
        await off(cluster, timeout_s=20.0)
        await cluster.rest()
        (home,) = cluster.where("web")
        assert cluster.world.fabric.host(home).guests["web"].memory is not memory
        assert cluster.observer.snapshot.fenced == {}
        assert cluster.violations() == []

    in_cluster(scene)


def test_vm_that_must_not_be_killed_does_not_hold_the_host_for_ever_and_is_recovered_by_proof() -> None:
    async def scene(cluster: Cluster) -> None:
        await configure(cluster)
        await add_running(cluster, "web", no_kill=True, stop_timeout_s=2.0)
        cluster.world.fabric.fail_migration("web", times=100)
        cluster.world.fabric.ignore_acpi("web")
        cluster.hands.shutdown("n1")
        await off(cluster, timeout_s=IN_A_HURRY.migrate_s + IN_A_HURRY.stop_s + 2.0)
        assert has_a_session(cluster)  # it has not left: what ran there is given up by proof, as with any loss
        await cluster.rest()
        assert len(cluster.observer.snapshot.fenced) == 1
        assert cluster.violations() == []

    in_cluster(scene)


def test_host_shuts_down_in_the_end_while_the_store_is_away() -> None:
    async def scene(cluster: Cluster) -> None:
        await configure(cluster)
        cluster.world.etcd.stop()
        cluster.hands.shutdown("n1")
        await off(cluster, timeout_s=IN_A_HURRY.migrate_s + IN_A_HURRY.stop_s + 2.0)
        cluster.world.etcd.start()
        await cluster.rest()
        assert cluster.violations() == []

    in_cluster(scene)


def test_guard_of_an_empty_host_lets_go_and_that_of_a_full_one_does_not() -> None:
    async def scene(cluster: Cluster) -> None:
        await configure(cluster)
        await add_running(cluster, "web", no_kill=True, stop_timeout_s=2.0)
        cluster.world.fabric.fail_migration("web", times=100)
        cluster.world.fabric.ignore_acpi("web")
        for name, is_empty in (("n2", True), ("n1", False)):
            host = cluster.hands.host(name)
            assert host.member
            assert host.guard
            assert await host.member.leave() is is_empty
            assert ((await host.guard.status()).state is State.IDLE) is is_empty

    in_cluster(scene, watchdog_s=2)


async def fill_for_good(cluster: Cluster) -> Member:
    """With a guest that neither moves nor shuts down nor may be killed."""
    await configure(cluster)
    await add_running(cluster, "web", on=("n1", "n2"), no_kill=True, stop_timeout_s=2.0)
    cluster.world.fabric.fail_migration("web", times=100)
    cluster.world.fabric.ignore_acpi("web")
    member = cluster.hands.host("n1").member
    assert member
    return member


def count_of_beats(cluster: Cluster, node: str) -> int:
    beat = cluster.observer.snapshot.nodes[NodeName(node)].beat
    assert beat
    return beat.value.count


def takes_vms(cluster: Cluster) -> bool:
    view = cluster.observer.snapshot.nodes[NodeName("n1")]
    return view.current_status is not None and not view.current_status.leaving and view.current_status.eligible


def journal(cluster: Cluster, kind: str) -> list[str]:
    return [line.text for line in read_journal(cluster.world.record.catch_up().lines) if line.kind == kind]


def test_node_that_could_not_leave_and_does_not_go_off_takes_vms_again() -> None:
    async def scene(cluster: Cluster) -> None:
        member = await fill_for_good(cluster)
        assert not await member.leave(goes_off=False)
        await until(lambda: takes_vms(cluster), what="it takes vms again")
        assert journal(cluster, "stay") == ["it could not leave the cluster, and stays"]
        await cluster.hands.add("new", memory_mib=1024, vcpus=1, start=True, failover_domain="home")
        await until(lambda: cluster.where("new") == ["n1"], what="another starts there", timeout_s=30.0)
        assert cluster.violations() == []

    in_cluster(scene)


@pytest.mark.parametrize("goes_off", [True, False])
@pytest.mark.parametrize("vms", AtShutdown)
def test_node_whose_leaving_is_called_off_keeps_or_takes_back_what_it_had(vms: AtShutdown, goes_off: bool) -> None:
    async def scene(cluster: Cluster) -> None:
        member = await fill_for_good(cluster)
        await configure(cluster, HostShutdown(vms=vms, migrate_s=30.0, stop_s=30.0))
        await add_running(cluster, "db", on=("n1", "n2"))
        leaving = asyncio.create_task(member.leave(BY_SYSTEMD, goes_off=goes_off))
        await until(lambda: not takes_vms(cluster), what="it is leaving")
        await until(lambda: cluster.where("db") != ["n1"], what="db is gone by then", timeout_s=60.0)
        member.agent.call_off_leaving()
        assert not await leaving
        assert await member.stay(BY_SYSTEMD)
        await until(lambda: takes_vms(cluster), what="it takes vms again")
        await until(lambda: cluster.where("db") == ["n1"], what="db runs there", timeout_s=60.0)
        assert journal(cluster, "stay") == ["root has it stay in the cluster"]
        assert cluster.violations() == []

    in_cluster(scene)


def test_node_that_has_left_can_not_be_told_to_stay() -> None:
    async def scene(cluster: Cluster) -> None:
        member = cluster.hands.host("n1").member
        assert member
        assert await member.leave(goes_off=False)
        assert not await member.stay(None)
        beats = count_of_beats(cluster, "n2")
        await until(lambda: count_of_beats(cluster, "n2") > beats + 20, what="the others go on", timeout_s=60.0)
        assert not has_a_session(cluster)
        assert journal(cluster, "stay") == []

    in_cluster(scene)


def test_host_that_shuts_down_says_in_the_journal_who_has_it_leave() -> None:
    async def scene(cluster: Cluster) -> None:
        await configure(cluster)
        cluster.hands.shutdown("n1")
        await off(cluster, timeout_s=20.0)
        told = [line for line in read_journal(cluster.world.record.catch_up().lines) if line.kind == "leave"]
        assert [(line.node, line.text) for line in told] == [
            ("n1", "root has it leave the cluster: the host shuts down")
        ]

    in_cluster(scene)


def test_whole_cluster_shuts_down_without_waiting_for_migrations_and_its_vms_run_again_when_it_is_back() -> None:
    async def scene(cluster: Cluster) -> None:
        await configure(cluster, HostShutdown(migrate_s=600.0))
        await add_running(cluster, "web")
        for name in ("n1", "n2", "n3"):
            cluster.hands.shutdown(name)
        await until(
            lambda: not any(host.has_power for host in cluster.world.hosts.values()), what="all off", timeout_s=60.0
        )
        await asyncio.sleep(30.0)
        for name in ("n1", "n2", "n3"):
            cluster.hands.host(name).power_on()
        await until(lambda: len(cluster.where("web")) == 1, what="it to run again", timeout_s=60.0)
        held = placement(cluster, "web")
        assert held
        assert cluster.violations() == []

    in_cluster(scene)


def test_host_waits_for_what_is_on_its_way_to_it_and_sends_it_on() -> None:
    """Else its session were over when the guest has arrived, and the guest's memory were lost."""

    async def scene(cluster: Cluster) -> None:
        await configure(cluster)
        await add_running(cluster, "web", on=("n2", "n1", "n3"))
        memory = cluster.world.fabric.host("n2").guests["web"].memory
        await cluster.hands.migrate("web", "n1")
        await see_at_once(lambda: True if is_migrating(cluster) else None)
        cluster.hands.shutdown("n1")
        await off(cluster, timeout_s=30.0)
        await cluster.rest()
        (home,) = cluster.where("web")
        assert cluster.world.fabric.host(home).guests["web"].memory is memory
        assert not has_a_session(cluster)
        assert cluster.observer.snapshot.fenced == {}
        assert cluster.violations() == []

    in_cluster(scene)


@pytest.mark.parametrize("after_s", [round(0.1 * step, 1) for step in range(0, 25, 2)])
def test_vm_that_libvirt_lets_run_on_a_host_that_leaves_runs_once(after_s: float) -> None:
    """That the session is over says that nothing runs there: its source would give the vm back at once."""

    async def scene(cluster: Cluster) -> None:
        await configure(cluster)
        cluster.world.fabric.is_own_switch_atomic = True
        await add_running(cluster, "web", on=("n2", "n1", "n3"), migration=Migration(handover=Handover.LIBVIRT))
        memory = cluster.world.fabric.host("n2").guests["web"].memory
        cluster.world.etcd.slow("n1", 0.6)
        await cluster.hands.migrate("web", "n1")
        await see_at_once(lambda: True if is_migrating(cluster) else None)
        await asyncio.sleep(after_s)
        cluster.hands.shutdown("n1")
        await off(cluster, timeout_s=60.0)
        await cluster.rest()
        (home,) = cluster.where("web")
        assert cluster.world.fabric.host(home).guests["web"].memory is memory
        assert cluster.observer.snapshot.fenced == {}
        assert cluster.violations() == []

    in_cluster(scene)


def is_migrating(cluster: Cluster) -> bool:
    held = placement(cluster, "web")
    return held is not None and held.phase is Phase.MIGRATING
