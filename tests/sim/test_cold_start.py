"""The whole cluster was down: where vms start then, and which stay down."""

from tests.sim.probes import starts
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.twin.fabric_state import Deed
from vmha.model.ids import NodeName, VmName
from vmha.model.settings import ClusterConfig, Limits, Profile
from vmha.model.vm import Desired
from vmha.operator.overview import overview


async def has_session(cluster: Cluster, *nodes: str) -> list[bool]:
    known = (await cluster.hands.operator.read()).nodes
    return [known[NodeName(node)].session is not None for node in nodes]


async def go_off(cluster: Cluster) -> None:
    """Every host loses its power, for longer than the store remembers their sessions."""
    for host in cluster.world.hosts.values():
        host.power_off()

    async def are_forgotten() -> bool:
        return not any(await has_session(cluster, *cluster.world.hosts))

    await until(are_forgotten, what="no session is left", timeout_s=60.0)


async def come_back(cluster: Cluster) -> None:
    """One host after another."""
    for name, host in cluster.world.hosts.items():
        host.power_on()

        async def is_back(node: str = name) -> bool:
            return all(await has_session(cluster, node))

        await until(is_back, what=f"{name} is back", timeout_s=60.0)


async def add(cluster: Cluster, name: str, **fields: object) -> None:
    await cluster.hands.add(name, memory_mib=1024, vcpus=1, **fields)


async def desired(cluster: Cluster, vm: str) -> Desired:
    spec = (await cluster.hands.operator.read()).vms[VmName(vm)].spec
    assert spec
    return spec.value.desired


def test_vms_that_nobody_holds_do_not_pile_up_on_the_first_node_that_comes_up() -> None:
    async def scene(cluster: Cluster) -> None:
        for vm in ("a", "b", "c"):
            await add(cluster, vm, start=False)
        await cluster.rest()
        await go_off(cluster)
        for vm in ("a", "b", "c"):
            await cluster.hands.start(vm)
        await come_back(cluster)
        await cluster.rest()
        assert sorted(cluster.where(vm)[0] for vm in ("a", "b", "c")) == ["n1", "n2", "n3"]
        moved = [fact for fact in cluster.world.fabric.history if fact.deed is Deed.RUNS]
        assert len(moved) == 3, "nothing had to be moved afterwards"

    in_cluster(scene)


def test_node_that_does_not_come_back_is_waited_for_a_moment_and_status_says_so() -> None:
    async def scene(cluster: Cluster) -> None:
        await add(cluster, "web", start=False)
        await cluster.rest()
        await go_off(cluster)
        await cluster.hands.start("web")
        cluster.hands.host("n1").power_on()
        cluster.hands.host("n2").power_on()
        said: set[str] = set()

        async def runs_and_what_is_said_until_then() -> bool:
            snapshot = await cluster.hands.operator.read()
            said.update(overview(snapshot, cluster="sim", wall=cluster.world.clock.wall()).warnings)
            return bool(cluster.where("web"))

        await until(runs_and_what_is_said_until_then, what="web runs", timeout_s=120.0)
        assert any("n3 may still join before vms are placed" in words for words in said)

    in_cluster(scene)


def test_what_is_lost_with_the_whole_cluster_comes_back_but_for_vms_without_autostart() -> None:
    async def scene(cluster: Cluster) -> None:
        await add(cluster, "web", start=True)
        await add(cluster, "build", start=True, autostart=False)
        await cluster.rest()
        await go_off(cluster)
        await come_back(cluster)
        await until(lambda: len(cluster.where("web")) == 1, what="web is back", timeout_s=120.0)
        await cluster.rest()
        assert cluster.where("build") == []
        assert await desired(cluster, "build") is Desired.STOPPED
        assert len(starts(cluster, "build")) == 1
        await cluster.hands.start("build")
        await cluster.rest()
        assert len(cluster.where("build")) == 1
        assert cluster.violations() == []

    in_cluster(scene)


def test_hosts_that_had_more_vms_than_they_may_start_at_once_have_them_all_back() -> None:
    """What a lost session held is not being started by anybody, though it is on record as held and is not seen."""

    async def scene(cluster: Cluster) -> None:
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, limits=Limits(starts_per_node=1)))
        vms = [f"v{number}" for number in range(6)]
        for vm in vms:
            await add(cluster, vm, start=True)
        await cluster.rest()
        assert sorted(cluster.where(vm)[0] for vm in vms) == ["n1", "n1", "n2", "n2", "n3", "n3"]
        await go_off(cluster)
        await come_back(cluster)
        await until(lambda: all(len(cluster.where(vm)) == 1 for vm in vms), what="all are back", timeout_s=120.0)
        assert cluster.violations() == []

    in_cluster(scene)


def test_vm_without_autostart_is_recovered_when_only_its_node_is_lost() -> None:
    async def scene(cluster: Cluster) -> None:
        await add(cluster, "build", start=True, autostart=False)
        await cluster.rest()
        (node,) = cluster.where("build")
        cluster.hands.host(node).power_off()
        await until(lambda: cluster.where("build") not in ([], [node]), what="build is recovered", timeout_s=60.0)
        assert cluster.violations() == []

    in_cluster(scene)


def test_outage_of_the_store_that_ends_the_guests_everywhere_is_one_of_the_whole_cluster() -> None:
    async def scene(cluster: Cluster) -> None:
        await add(cluster, "web", start=True)
        await add(cluster, "build", start=True, autostart=False)
        await cluster.rest()
        cluster.world.etcd.stop()
        await until(lambda: cluster.where("web") == [], what="the guards have ended it", timeout_s=60.0)
        await until(lambda: cluster.where("build") == [], what="and build", timeout_s=60.0)
        cluster.world.etcd.start()
        await until(lambda: len(cluster.where("web")) == 1, what="web is back", timeout_s=120.0)
        await cluster.rest()
        assert cluster.where("build") == []
        assert await desired(cluster, "build") is Desired.STOPPED

    in_cluster(scene)
