"""A definition that is changed while its vm runs: shown until a start has read it."""

from tests.sim.probes import add_running, answered
from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import VmName
from vmha.model.restart import RestartKind
from vmha.operator.vms import edit
from vmha.policy.members.membership import moment_of_one_reading
from vmha.policy.plan import judge_all
from vmha.policy.telling.explain import VmSummary, summarize
from vmha.sim.world.hands import domain_xml


async def shown(cluster: Cluster) -> VmSummary:
    snapshot = await cluster.hands.operator.read()
    verdicts = judge_all(snapshot, moment_of_one_reading(snapshot, wall=cluster.world.clock.wall()))
    return summarize(snapshot.vms[VmName("web")], snapshot, verdicts)


def test_new_definition_waits_for_a_restart_by_migration_and_reset_and_not_longer() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        assert not (await shown(cluster)).needs_restart
        await edit(cluster.hands.operator, "web", xml=domain_xml("web", memory_mib=2048, vcpus=2))
        assert (await shown(cluster)).needs_restart
        for request in (
            await cluster.hands.migrate("web", "n2"),
            await cluster.hands.restart("web", RestartKind.RESET),
        ):
            await answered(cluster, request.id, timeout_s=60.0)
            assert (await shown(cluster)).needs_restart
        request = await cluster.hands.restart("web")
        await answered(cluster, request.id, timeout_s=60.0)
        assert not (await shown(cluster)).needs_restart

    in_cluster(scene)


def test_definition_put_back_as_it_was_waits_for_nothing_and_a_stopped_vm_needs_no_restart() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        await edit(cluster.hands.operator, "web", xml=domain_xml("web", memory_mib=2048, vcpus=2))
        await edit(cluster.hands.operator, "web", xml=domain_xml("web", memory_mib=1024, vcpus=1))
        assert not (await shown(cluster)).needs_restart
        await edit(cluster.hands.operator, "web", xml=domain_xml("web", memory_mib=2048, vcpus=2))
        await cluster.hands.stop("web")
        await cluster.rest()
        assert not (await shown(cluster)).needs_restart

    in_cluster(scene)
