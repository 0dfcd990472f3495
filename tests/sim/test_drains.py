"""A drain that is disturbed: an agent killed in the middle of it, a leader that goes, and the way back."""

import asyncio

from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import NodeName
from vmha.model.records import Phase
from vmha.operator.drains import bring_back

VMS = ("a", "b", "c", "d", "e", "f")


async def full(cluster: Cluster) -> None:
    """All vms on n1, by its being the only node that takes any."""
    for node in ("n2", "n3"):
        await cluster.hands.drain(node)
    for name in VMS:
        await cluster.hands.add(name, memory_mib=512, vcpus=1, start=True)
    await cluster.rest()
    for node in ("n2", "n3"):
        await cluster.hands.undrain(node)
    await cluster.rest()
    assert {name: cluster.where(name) for name in VMS} == {name: ["n1"] for name in VMS}


def leaving(cluster: Cluster) -> list[str]:
    views = cluster.observer.snapshot.vms.values()
    return [vm.name for vm in views if vm.placement and vm.placement.value.phase is Phase.MIGRATING]


async def begun(cluster: Cluster) -> None:
    """The drain is under way."""
    await cluster.hands.drain("n1")
    await until(lambda: bool(leaving(cluster)), what="a vm on its way", timeout_s=30.0)


def test_drain_goes_on_when_the_agent_of_its_node_was_killed_in_the_middle_of_it() -> None:
    async def scene(cluster: Cluster) -> None:
        await full(cluster)
        await begun(cluster)
        cluster.hands.host("n1").kill_agent()
        await asyncio.sleep(1.0)
        cluster.hands.host("n1").start_agent()
        await cluster.rest()
        assert all(len(cluster.where(name)) == 1 and cluster.where(name) != ["n1"] for name in VMS)
        assert cluster.violations() == []

    in_cluster(scene)


def test_new_leader_goes_on_with_a_drain_and_knows_what_is_to_come_back() -> None:
    async def scene(cluster: Cluster) -> None:
        await full(cluster)
        await begun(cluster)
        leader = cluster.observer.snapshot.leader
        assert leader
        cluster.hands.host(leader.value.node).kill_agent()
        await until(
            lambda: (new := cluster.observer.snapshot.leader) is not None and new.value.session != leader.value.session,
            what="another leader",
            timeout_s=60.0,
        )
        cluster.hands.host(leader.value.node).start_agent()
        await cluster.rest()
        assert all(cluster.where(name) in (["n2"], ["n3"]) for name in VMS)
        asked, _ = await bring_back(cluster.hands.operator, "n1")
        assert [one.vm for one in asked] == list(VMS)
        await cluster.rest()
        assert {name: cluster.where(name) for name in VMS} == {name: ["n1"] for name in VMS}
        assert cluster.violations() == []

    in_cluster(scene)


def test_drain_that_is_called_off_leaves_each_vm_running_where_it_is() -> None:
    async def scene(cluster: Cluster) -> None:
        await full(cluster)
        await begun(cluster)
        await cluster.hands.undrain("n1")
        await cluster.rest()
        assert all(len(cluster.where(name)) == 1 for name in VMS)
        snapshot = cluster.observer.snapshot
        assert all(vm.placement and vm.placement.value.phase is Phase.HELD for vm in snapshot.vms.values())
        before = {name: cluster.where(name) for name in VMS}
        await cluster.rest()
        assert {name: cluster.where(name) for name in VMS} == before
        assert snapshot.nodes[NodeName("n1")].spec is not None
        assert cluster.violations() == []

    in_cluster(scene)
