"""Who a node is: machines that seem to be one, and one machine that goes by another name than before."""

import asyncio
from dataclasses import replace

from tests.sim.probes import add_running
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import NodeName


def test_clone_with_the_machine_id_of_a_node_that_lives_takes_nothing_from_it() -> None:
    """Its disk was copied, machine id, settings and all, its firmware's uuid is everybody's: it seems a boot of it."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        first = cluster.hands.host("n1")
        clone = cluster.world.add_host("clone")
        clone.power_on()
        assert clone._identity
        assert first._identity
        clone._identity = replace(first._identity, address="clone", boot_id="clone-1")
        for _ in range(100):
            await asyncio.sleep(0.1)
            assert cluster.where("web") == ["n1"]
        assert clone.member
        assert clone.member.keeper.current is None
        assert cluster.violations() == []

    in_cluster(scene)


def test_node_that_boots_under_its_own_name_is_believed_soon_all_the_same() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1",))
        host = cluster.hands.host("n1")
        host.power_off()
        host.power_on()
        await until(lambda: cluster.where("web") == ["n1"], what="it runs again where it is at home", timeout_s=30.0)
        assert cluster.violations() == []

    in_cluster(scene)


def test_node_that_is_called_otherwise_when_its_agent_restarts_does_not_take_its_session_along() -> None:
    """Its settings give no name, and the host was renamed. By the old name its session is evicted, as it should be."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        host = cluster.hands.host("n1")
        host.stop_agent()
        assert host._identity
        host._identity = replace(host._identity, node=NodeName("other"))
        host.start_agent()
        await until(lambda: cluster.where("web") == ["n2"], what="it runs elsewhere", timeout_s=30.0)
        await until(lambda: "other" in cluster.observer.snapshot.nodes, what="the node is there by its new name")
        assert cluster.violations() == []

    in_cluster(scene)


def test_node_that_was_renamed_is_lost_like_any_other() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        host = cluster.hands.host("n1")
        host.stop_agent()
        assert host._identity
        host._identity = replace(host._identity, node=NodeName("other"))
        host.start_agent()
        await until(lambda: "n1" not in sessions(cluster), what="its old session is over", timeout_s=30.0)
        await until(lambda: "other" in sessions(cluster), what="it has joined by its new name", timeout_s=30.0)
        host.power_off()
        await until(lambda: "other" not in sessions(cluster), what="it is evicted", timeout_s=30.0)
        assert cluster.where("web") == ["n2"]
        assert cluster.violations() == []

    in_cluster(scene)


def sessions(cluster: Cluster) -> set[NodeName]:
    return {name for name, view in cluster.observer.snapshot.nodes.items() if view.beat}
