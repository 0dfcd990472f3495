"""Keys, records and guests that no vmha wrote: a hand with etcdctl or virsh must not stop the cluster."""

import asyncio
from dataclasses import replace

import pytest

from tests.sim.probes import add_running, delete, placement, put, raw, restart_agent, runs_on
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.domain_xml import tagged
from vmha.model.ids import NodeName, SessionId, VmName
from vmha.model.records import Observation, Phase, SeenState
from vmha.model.vm import Desired, VmSpec
from vmha.sim.world.hands import domain_xml

OTHER_UUID = "11111111-2222-3333-4444-555555555555"


async def others_are_decided_on(cluster: Cluster) -> None:
    await cluster.hands.add("db", memory_mib=1024, vcpus=1, start=True)
    await until(lambda: len(cluster.where("db")) == 1, what="another vm starts", timeout_s=10.0)


@pytest.mark.parametrize("key", ["vms", "nodes", "nodes/n1"])
def test_stray_key_too_short_to_be_one_of_ours_crashes_nobody(key: str) -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        lines = len(cluster.world.fabric.history)
        await put(cluster, cluster.world.keys.prefix + key, b"{}")
        await asyncio.sleep(10.0)
        await delete(cluster, cluster.world.keys.prefix + key)
        await asyncio.sleep(10.0)
        assert len(cluster.world.fabric.history) == lines
        await others_are_decided_on(cluster)

    in_cluster(scene)  # which looks for crashes


def test_unreadable_definition_takes_neither_claim_nor_mark_off_a_running_vm() -> None:
    """It is unknown then, not absent. That holds for agents that have never read it either."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        keys = cluster.world.keys
        claim, good = raw(cluster, keys.placement(VmName("web"))), raw(cluster, keys.vm_spec(VmName("web")))
        lines = len(cluster.world.fabric.history)
        await put(cluster, keys.vm_spec(VmName("web")), b'{"name": oops')
        for node in cluster.world.hosts:
            restart_agent(cluster, node)
        await asyncio.sleep(15.0)
        assert raw(cluster, keys.placement(VmName("web"))) == claim
        assert cluster.world.managed_on("n1") == ("web",)
        await put(cluster, keys.vm_spec(VmName("web")), good)
        await cluster.rest()
        assert raw(cluster, keys.placement(VmName("web"))) == claim
        assert len(cluster.world.fabric.history) == lines

    in_cluster(scene)


def test_copy_of_a_vms_xml_bears_its_mark_and_is_not_taken_for_it() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        copy = tagged(domain_xml("copy", memory_mib=1024, vcpus=1), cluster="sim", vm="web", epoch=1, uuid=OTHER_UUID)
        cluster.hands.virsh_start(copy, "n1")
        await runs_on(cluster, "copy", "n1", timeout_s=1.0)
        await cluster.hands.stop("web")
        await until(
            lambda: (held := placement(cluster, "web")) is not None and held.phase is Phase.STOPPED,
            what="its stop ends",
            timeout_s=10.0,
        )
        assert cluster.where("web") == []
        await cluster.hands.start("web")
        await runs_on(cluster, "web", "n1", timeout_s=10.0)
        assert cluster.where("copy") == ["n1"]

    in_cluster(scene)


def test_claim_without_a_session_does_not_stop_decisions_about_the_others() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        held = placement(cluster, "web")
        assert held
        await put(cluster, cluster.world.keys.placement(VmName("web")), replace(held, session=None))
        await others_are_decided_on(cluster)
        assert cluster.where("web") == ["n1"]

    in_cluster(scene)


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("wrong", [{"session": SessionId("")}, {"node": NodeName("")}, {"node": None}])
def test_claim_that_does_not_say_whose_it_is_ends_no_agent(wrong: dict[str, str | None], removed: bool) -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        held = placement(cluster, "web")
        assert held
        key = cluster.world.keys.placement(VmName("web"))
        await put(cluster, key, replace(held, **wrong))
        if removed:
            await delete(cluster, cluster.world.keys.vm_spec(VmName("web")))
        await others_are_decided_on(cluster)
        assert key in cluster.observer.snapshot.problems
        assert cluster.where("web") == ["n1"]

    in_cluster(scene)


def test_observation_that_names_a_node_nobody_knows_does_not_stop_decisions_about_the_others() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, desired=Desired.STOPPED)
        await cluster.rest()
        beat = cluster.observer.snapshot.nodes[NodeName("n1")].beat
        assert beat
        seen = Observation(vm=VmName("web"), node=NodeName("n9"), session=beat.value.session, state=SeenState.RUNNING)
        await put(cluster, cluster.world.keys.observation(NodeName("n1"), VmName("web")), seen)
        await others_are_decided_on(cluster)
        assert cluster.where("web") == []

    in_cluster(scene)


def test_broken_xml_in_a_stored_definition_reads_as_a_failed_start() -> None:
    async def scene(cluster: Cluster) -> None:
        broken = VmSpec(name="web", xml="<domain>", uuid=OTHER_UUID, memory_mib=1024, desired=Desired.RUNNING)
        await put(cluster, cluster.world.keys.vm_spec(VmName("web")), broken)

        def says_why() -> bool:
            found = placement(cluster, "web")
            return found is not None and any("broken" in failure.error for failure in found.failures)

        await until(says_why, what="a failed start on record", timeout_s=10.0)
        await others_are_decided_on(cluster)
        assert cluster.where("web") == []

    in_cluster(scene)
