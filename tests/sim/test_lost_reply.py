"""The last reply of a migration that libvirt switches by itself is lost, and it lets the source go on as well.

The source's memory is older by then than what the target has written. Nothing on the hosts prevents that instant
(docs/explanation/safety.md); what the target has shown decides what becomes of it.
"""

from tests.sim.probes import placement, restart_agent, see_at_once, starts
from tests.sim.test_migration_faults import SOURCE, TARGET, migrating
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.port import DomainState
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, SeenState
from vmha.model.vm import Handover


async def lose_the_last_reply(cluster: Cluster) -> None:
    """Until both run."""
    await migrating(cluster, "copying", handover=Handover.LIBVIRT)
    cluster.world.fabric.lose_migration_reply("web")
    await until(lambda: cluster.where("web") == [SOURCE, TARGET], what="both run")


async def let_the_source_go_on(cluster: Cluster) -> None:
    await until(lambda: cluster.where("web") == [SOURCE], what="libvirt to let the source go on")


async def only_the_target_is_left(cluster: Cluster) -> None:
    """It stands, and is the vm."""
    await until(lambda: cluster.where("web") == [], what="the source's to be ended", timeout_s=20.0)
    await cluster.rest()
    assert cluster.world.fabric.instances("web") == [(TARGET, DomainState.PAUSED)]
    held = placement(cluster, "web")
    assert held
    assert (held.phase, held.node) == (Phase.HELD, TARGET)


async def is_held_alone(cluster: Cluster, *nodes: str) -> None:
    def is_one() -> bool:
        held = placement(cluster, "web")
        where = [(held.node, DomainState.RUNNING)] if held and held.phase is Phase.HELD and held.node in nodes else None
        return cluster.world.fabric.instances("web") == where

    await until(is_one, what=f"one instance, held, on {nodes}", timeout_s=60.0)
    await cluster.rest()
    assert is_one()


def test_it_is_the_one_at_the_target_that_goes_on() -> None:
    async def scene(cluster: Cluster) -> None:
        await lose_the_last_reply(cluster)
        began = len(starts(cluster, "web"))
        await is_held_alone(cluster, TARGET)
        assert len(starts(cluster, "web")) == began, "nothing was let run since"

    in_cluster(scene)


def test_it_is_the_one_at_the_target_also_if_a_hand_suspends_it_before_anybody_has_seen_it_run() -> None:
    """That stands by its word, and the one at the source, older than the disk, is ended."""

    async def scene(cluster: Cluster) -> None:
        fabric = cluster.world.fabric
        await migrating(cluster, "copying", handover=Handover.LIBVIRT)
        fabric.lose_migration_reply("web")
        await see_at_once(lambda: TARGET in cluster.where("web") or None)
        fabric.virsh_suspend("web", TARGET)
        await let_the_source_go_on(cluster)
        began = len(starts(cluster, "web"))
        await only_the_target_is_left(cluster)
        fabric.virsh_resume("web", TARGET)
        await is_held_alone(cluster, TARGET)
        assert len(starts(cluster, "web")) == began + 1, "it was let go on there, and nothing else"

    in_cluster(scene)


def test_it_is_the_one_at_the_target_also_if_the_agent_that_has_seen_it_run_there_is_another_by_now() -> None:
    """There was none at the source to hear of it before."""

    async def scene(cluster: Cluster) -> None:
        fabric = cluster.world.fabric
        await migrating(cluster, "copying", handover=Handover.LIBVIRT)
        fabric.lose_migration_reply("web")
        cluster.hands.host(SOURCE).stop_agent()
        await see_at_once(lambda: is_shown(cluster, SeenState.RUNNING) or None)
        fabric.virsh_suspend("web", TARGET)
        restart_agent(cluster, TARGET)
        await until(lambda: is_shown(cluster, SeenState.PAUSED), what="the next agent to show it")
        cluster.hands.host(SOURCE).start_agent()
        await let_the_source_go_on(cluster)
        await only_the_target_is_left(cluster)

    def is_shown(cluster: Cluster, state: SeenState) -> bool:
        seen = cluster.observer.snapshot.vms[VmName("web")].seen.get(NodeName(TARGET))
        return seen is not None and seen.state is state

    in_cluster(scene)


def test_it_is_the_one_at_the_target_also_if_its_disk_failed_there_while_no_agent_was_there() -> None:
    """libvirt says that of one that has run, and of no other."""

    async def scene(cluster: Cluster) -> None:
        fabric = cluster.world.fabric
        await migrating(cluster, "at the switch", handover=Handover.LIBVIRT)
        fabric.lose_migration_reply("web")
        cluster.hands.host(TARGET).stop_agent()
        await see_at_once(lambda: TARGET in cluster.where("web") or None)
        fabric.stand(fabric.host(TARGET).guests["web"], DomainState.PAUSED, "ioerror")
        cluster.hands.host(TARGET).start_agent()
        await let_the_source_go_on(cluster)
        await until(lambda: SOURCE not in cluster.where("web"), what="the source's to be ended", timeout_s=20.0)
        await is_held_alone(cluster, TARGET)

    in_cluster(scene)


def test_what_goes_on_at_the_source_is_ended_when_the_target_is_lost_that_had_gone_on() -> None:
    async def scene(cluster: Cluster) -> None:
        await lose_the_last_reply(cluster)
        began = len(starts(cluster, "web"))
        cluster.hands.host(TARGET).power_off()
        await is_held_alone(cluster, SOURCE, "n3")
        assert len(starts(cluster, "web")) == began + 1, "it booted anew"

    in_cluster(scene)
