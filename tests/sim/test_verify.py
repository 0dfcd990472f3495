"""Whether a vm runs twice is verified by what hosts themselves say; what is not known is never taken for good."""

from tests.sim.probes import add_running
from tests.sim.test_migration_faults import migrating, one_instance
from tests.sim.test_second_copies import with_a_second_copy
from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import NodeName, VmName
from vmha.operator.verify import sentences, verify
from vmha.policy.telling.verify import Verdict, Verified


async def look(cluster: Cluster) -> Verified:
    return await verify(cluster.hands.operator, timeout_s=3.0)


def verdicts(found: Verified) -> dict[VmName, Verdict]:
    return {one.vm: one.verdict for one in found.vms}


def test_a_cluster_at_rest_is_verified_and_nothing_of_the_question_stays() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        await cluster.hands.add("idle", memory_mib=64, vcpus=1)
        await cluster.rest()
        found = await look(cluster)
        assert found.is_proven
        assert verdicts(found) == {"web": Verdict.ONCE, "idle": Verdict.NOWHERE}
        assert found.asked == ("n1", "n2", "n3")
        assert "1 of 2 vms run, each once" in sentences(found)[-1]
        assert cluster.world.etcd.list(cluster.world.keys.checkup("")).items == ()

    in_cluster(scene)


def test_a_second_copy_is_found_also_when_it_stands_still() -> None:
    async def scene(cluster: Cluster) -> None:
        found = await look(cluster)
        assert not found.is_proven
        (one,) = found.vms
        assert (one.verdict, one.places) == (Verdict.TWICE, ("n1", "n2"))

    with_a_second_copy(scene)


def test_a_node_that_does_not_answer_leaves_its_vms_unknown() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1",))
        cluster.hands.host("n1").freeze()
        found = await look(cluster)
        assert not found.is_proven
        assert set(found.silent) == {NodeName("n1")}
        assert verdicts(found) == {"web": Verdict.UNKNOWN}

    in_cluster(scene)


def test_a_host_whose_libvirt_is_away_verifies_nothing() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1",))
        cluster.hands.host("n1").stop_libvirtd()
        found = await look(cluster)
        assert not found.is_proven
        assert set(found.silent) == {NodeName("n1")}

    in_cluster(scene)


def test_a_vm_on_its_way_is_not_taken_for_two_and_is_verified_when_it_has_arrived() -> None:
    async def scene(cluster: Cluster) -> None:
        await migrating(cluster, "copying")
        found = await look(cluster)
        assert verdicts(found)["web"] in (Verdict.MOVING, Verdict.ONCE)
        await one_instance(cluster)
        await cluster.rest()
        assert (await look(cluster)).is_proven

    in_cluster(scene)
