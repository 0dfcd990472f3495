"""A host that is shut down under ``freeze``, and back: its vms stop there, wait for it, and start there again."""

import asyncio

from tests.sim.probes import add_running, answered, placement
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.records import Phase, Progress
from vmha.model.relations import Dependency
from vmha.model.settings import AtShutdown, ClusterConfig, HostShutdown, Profile
from vmha.operator.why import sentences, why

AWAY_S = 300.0
RULE = "frozen-until-its-host-is-back"


async def freeze(cluster: Cluster, **fields: float) -> None:
    shutdown = HostShutdown(vms=AtShutdown.FREEZE, **{"migrate_s": 20.0, "stop_s": 10.0, **fields})
    await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, on_host_shutdown=shutdown))


async def shut_down(cluster: Cluster) -> None:
    assert await cluster.hands.host("n1").shut_down()
    await cluster.rest()


def waits(cluster: Cluster, vm: str) -> bool:
    held = placement(cluster, vm)
    return held is not None and held.phase is Phase.STOPPED and held.reason.rule == RULE


async def starts_on(cluster: Cluster, vm: str, node: str) -> None:
    await until(lambda: cluster.where(vm) == [node], what=f"{vm} to run on {node}", timeout_s=60.0)


def test_vms_stop_with_their_host_start_nowhere_while_it_is_away_and_start_there_when_it_is_back() -> None:
    async def scene(cluster: Cluster) -> None:
        await freeze(cluster)
        await add_running(cluster, "web")
        await add_running(cluster, "db")
        await shut_down(cluster)
        for _ in range(10):
            await asyncio.sleep(AWAY_S / 10)
            assert (cluster.where("web"), cluster.where("db")) == ([], [])
        assert waits(cluster, "web")
        assert waits(cluster, "db")
        assert cluster.observer.snapshot.fenced == {}
        told = sentences(why(cluster.observer.snapshot, "web", wall=cluster.world.clock.wall()))
        assert any("starts there when n1 is back" in said for said in told)
        assert any("n1 is back: its agent has to reach etcd" in said for said in told)
        cluster.hands.host("n1").power_on()
        await starts_on(cluster, "web", "n1")
        await starts_on(cluster, "db", "n1")
        assert cluster.violations() == []

    in_cluster(scene)


def test_guest_is_asked_to_stop_and_what_needs_it_has_ended_before() -> None:
    async def scene(cluster: Cluster) -> None:
        await freeze(cluster)
        await add_running(cluster, "db")
        await add_running(cluster, "app", depends_on=(Dependency(vm="db"),))
        await shut_down(cluster)
        ended = {}
        for vm in ("app", "db"):
            held = placement(cluster, vm)
            assert held
            assert held.ended_why == "as asked"
            ended[vm] = held.since
        assert ended["app"] < ended["db"]
        cluster.hands.host("n1").power_on()
        await starts_on(cluster, "app", "n1")
        assert cluster.violations() == []

    in_cluster(scene)


def test_operator_relocates_one_and_drains_the_node_for_the_rest() -> None:
    async def scene(cluster: Cluster) -> None:
        await freeze(cluster)
        await add_running(cluster, "web")
        await add_running(cluster, "db")
        await shut_down(cluster)
        asked = await cluster.hands.relocate("web", "n3")
        assert (await answered(cluster, asked.id, timeout_s=30.0)).progress is Progress.DONE
        assert (cluster.where("web"), cluster.where("db")) == (["n3"], [])
        await cluster.hands.drain("n1")
        await starts_on(cluster, "db", "n2")
        assert cluster.violations() == []

    in_cluster(scene)


def test_host_that_loses_its_power_in_the_middle_is_lost_with_what_it_held_and_awaited_by_what_it_had_stopped() -> None:
    async def scene(cluster: Cluster) -> None:
        await freeze(cluster)
        await add_running(cluster, "quick")
        await add_running(cluster, "slow", stop_timeout_s=60.0)
        cluster.world.fabric.ignore_acpi("slow")
        cluster.hands.shutdown("n1")
        await until(lambda: waits(cluster, "quick"), what="quick to be stopped", timeout_s=15.0)
        assert cluster.where("slow") == ["n1"]
        cluster.hands.host("n1").power_off()
        await starts_on(cluster, "slow", "n2")
        await cluster.rest()
        assert waits(cluster, "quick")
        assert len(cluster.observer.snapshot.fenced) == 1
        cluster.hands.host("n1").power_on()
        await starts_on(cluster, "quick", "n1")
        assert cluster.violations() == []

    in_cluster(scene)


def test_host_that_does_not_come_back_in_time_gives_them_up() -> None:
    async def scene(cluster: Cluster) -> None:
        await freeze(cluster, freeze_for_s=120.0)
        await add_running(cluster, "web")
        await shut_down(cluster)
        assert waits(cluster, "web")
        await until(lambda: cluster.where("web") == ["n2"], what="it to run elsewhere", timeout_s=150.0)
        assert cluster.violations() == []

    in_cluster(scene)


def test_whole_cluster_is_shut_down_and_each_vm_starts_on_its_host_again() -> None:
    async def scene(cluster: Cluster) -> None:
        await freeze(cluster)
        await add_running(cluster, "web")
        await cluster.hands.relocate("web", "n3")
        await starts_on(cluster, "web", "n3")
        for name in ("n1", "n2", "n3"):
            cluster.hands.shutdown(name)
        hosts = cluster.world.hosts.values()
        await until(lambda: not any(host.has_power for host in hosts), what="all off", timeout_s=60.0)
        cluster.hands.host("n1").power_on()
        cluster.hands.host("n2").power_on()
        await asyncio.sleep(AWAY_S)
        assert cluster.where("web") == []
        cluster.hands.host("n3").power_on()
        await starts_on(cluster, "web", "n3")
        assert cluster.violations() == []

    in_cluster(scene)
