"""A hand takes a guest out of the cluster while no agent is there, and something had been asked of it: it runs once."""

import asyncio

import pytest

from tests.sim.probes import DOMAIN, add_running, placement, raw
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.fencing.deadline import EXPIRED
from vmha.hypervisor.port import HypervisorUnavailable
from vmha.hypervisor.twin.simulated import SimulatedHypervisor
from vmha.model.ids import NodeName, VmName
from vmha.model.keys import decode
from vmha.model.records import NodeStatus, Phase
from vmha.model.vm import Handover, Migration, MigrationStyle

HOME, MEMBER, OUTSIDE = "n1", "n2", "elsewhere"
NEVER_S = 600.0


async def ask(cluster: Cluster, phase: Phase) -> None:
    """What is asked is on record while nobody is there to do it."""
    home = cluster.hands.host(HOME)
    if phase is Phase.STOPPING:
        cluster.world.fabric.ignore_acpi("web")
        await cluster.hands.stop("web")
        await until(lambda: is_in(cluster, phase), what="it is to stop")
        home.stop_agent()
    else:
        home.stop_agent()
        if phase is Phase.MIGRATING:
            await cluster.hands.migrate("web", MEMBER)
            await until(lambda: is_in(cluster, phase), what="it is to migrate")


def is_in(cluster: Cluster, phase: Phase) -> bool:
    now = placement(cluster, "web")
    return now is not None and now.phase is phase


def hosts_of(cluster: Cluster) -> list[str]:
    """Where anything of it is."""
    return [host for host, _ in cluster.world.fabric.instances("web")]


async def come_back(cluster: Cluster, how: str) -> None:
    """Before the others give its session up: the guard has come to its deadline by then, or not."""
    home = cluster.hands.host(HOME)
    match how:
        case "at once":
            home.start_agent()
        case "after its hold":
            assert home.guard
            guard = home.guard
            await until(lambda: guard.state in EXPIRED, what="the guard's deadline")
            home.start_agent()
        case _:
            home.power_off()
            home.power_on()


@pytest.mark.parametrize("how", ["at once", "after its hold", "by a boot"])
@pytest.mark.parametrize("phase", [Phase.HELD, Phase.STOPPING, Phase.MIGRATING])
def test_guest_taken_out_while_something_was_asked_of_it_is_started_by_nobody(phase: Phase, how: str) -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(HOME, MEMBER, "n3"), stop_timeout_s=NEVER_S)
        await ask(cluster, phase)
        cluster.hands.virsh_migrate("web", OUTSIDE)
        await until(lambda: hosts_of(cluster) == [OUTSIDE], what="it is outside")
        await come_back(cluster, how)
        await asyncio.sleep(10.0)
        await cluster.hands.start("web")
        await until(lambda: is_in(cluster, Phase.DEPARTED), what="departed", timeout_s=90.0)
        await asyncio.sleep(20.0)
        assert cluster.where("web") == [OUTSIDE]
        assert cluster.violations() == []

    in_cluster(scene)


@pytest.mark.parametrize("how", ["at once", "after its hold", "by a boot"])
def test_guest_that_was_stopped_while_nobody_was_there_is_stopped(how: str) -> None:
    """The other way round: nothing took it away, and it waits for nobody's word."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(HOME, MEMBER, "n3"), stop_timeout_s=NEVER_S)
        await ask(cluster, Phase.STOPPING)
        cluster.hands.virsh_destroy("web")
        await come_back(cluster, how)
        await until(lambda: is_in(cluster, Phase.STOPPED), what="it is stopped", timeout_s=30.0)
        await cluster.hands.start("web")
        await until(lambda: cluster.where("web") == [HOME], what="it runs again", timeout_s=30.0)
        assert cluster.violations() == []

    in_cluster(scene)


@pytest.mark.parametrize("how", ["at once", "after its hold", "by a boot"])
def test_guest_that_went_where_it_was_asked_to_while_nobody_was_there_goes_on_by_itself(how: str) -> None:
    """It left by the migration that was asked for, not by a hand: nobody's word is needed."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(HOME, MEMBER, "n3"))
        cluster.world.fabric.set_migration_time("web", 1.0)
        await cluster.hands.migrate("web", MEMBER)
        await until(lambda: is_in(cluster, Phase.MIGRATING), what="it is to migrate")
        await asyncio.sleep(0.5)
        cluster.hands.host(HOME).stop_agent()
        await asyncio.sleep(1.0)
        await come_back(cluster, how)
        await until(lambda: len(cluster.where("web")) == 1, what="it runs", timeout_s=60.0)
        await cluster.rest()
        assert len(cluster.where("web")) == 1
        assert cluster.violations() == []

    in_cluster(scene)


async def lose_both_agents_in_its_migration(cluster: Cluster) -> None:
    """Its target has beaten since the migration was asked for."""
    cluster.world.fabric.set_migration_time("web", 3.0)
    await cluster.hands.migrate("web", MEMBER)
    await until(lambda: is_in(cluster, Phase.MIGRATING), what="it is to migrate")
    asked = cluster.observer.snapshot.vms[VmName("web")].placement
    assert asked

    def is_under_way() -> bool:
        beat = cluster.observer.snapshot.nodes[NodeName(MEMBER)].beat
        is_copied = cluster.world.fabric.host(HOME).guests["web"].migration is not None
        return is_copied and beat is not None and beat.modified > asked.modified

    await until(is_under_way, what="it is copied, and its target has beaten since")
    for host in (HOME, MEMBER):
        cluster.hands.host(host).stop_agent()


@pytest.mark.parametrize("member", ["is back at once", "is back when it was given up"])
@pytest.mark.parametrize("how", ["at once", "after its hold", "by a boot"])
def test_guest_that_was_ended_where_it_had_come_as_asked_boots_again_by_itself(how: str, member: str) -> None:
    """Both agents die in its migration. It is complete at its target when that node's guard comes to its deadline, and
    nobody has seen it there: what the guard has ended is on record, so nobody has to be asked where it went.
    """

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(HOME, MEMBER, "n3"))
        await lose_both_agents_in_its_migration(cluster)
        target = cluster.hands.host(MEMBER)
        await until(lambda: hosts_of(cluster) == [MEMBER], what="it is complete at its target")
        assert cluster.where("web") == [], "nobody has let it go"
        coming_back = asyncio.create_task(come_back(cluster, how))
        await until(lambda: hosts_of(cluster) == [], what="its target's guard has ended it")
        if member == "is back when it was given up":
            await until(lambda: cluster.observer.snapshot.nodes[NodeName(MEMBER)].beat is None, what="given up")
            await asyncio.sleep(5.0)
        target.start_agent()
        await coming_back
        await until(lambda: len(cluster.where("web")) == 1, what="it runs again", timeout_s=60.0)
        await cluster.rest()
        assert not is_in(cluster, Phase.DEPARTED)
        assert cluster.violations() == []

    in_cluster(scene)


def test_others_of_its_node_do_not_wait_for_ever_for_a_target_that_says_nothing() -> None:
    """libvirtd does not answer where it was to go, so that nobody can say whether it came there."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(HOME, MEMBER, "n3"))
        await cluster.hands.add("db", memory_mib=1024, vcpus=1, start=True, failover_domain=DOMAIN)
        await until(lambda: cluster.where("db") == [HOME], what="the other one runs beside it")
        await ask(cluster, Phase.MIGRATING)
        cluster.hands.virsh_migrate("web", OUTSIDE)
        await until(lambda: hosts_of(cluster) == [OUTSIDE], what="it is outside")
        cluster.hands.host(MEMBER).stop_libvirtd()
        await come_back(cluster, "by a boot")
        await until(
            lambda: any("says whether web has come there" in note for note in notes(cluster)), what="it is told"
        )
        await until(lambda: cluster.where("db") == [HOME], what="the other one is back", timeout_s=120.0)
        assert is_in(cluster, Phase.DEPARTED)
        assert cluster.where("web") == [OUTSIDE]
        assert cluster.violations() == []

    in_cluster(scene)


@pytest.mark.parametrize("style", [MigrationStyle.LIVE, MigrationStyle.POST_COPY])
@pytest.mark.parametrize("how", ["at once", "after its hold", "by a boot"])
def test_guest_that_libvirt_let_go_on_where_it_was_ended_unseen_boots_again_by_itself(
    how: str, style: MigrationStyle
) -> None:
    """As above, with libvirt's own switch: it runs at its target until the guard there comes to its deadline."""

    async def scene(cluster: Cluster) -> None:
        migration = Migration(handover=Handover.LIBVIRT, style=style)
        await add_running(cluster, "web", on=(HOME, MEMBER, "n3"), migration=migration)
        await lose_both_agents_in_its_migration(cluster)
        target = cluster.hands.host(MEMBER)
        await until(lambda: cluster.where("web") == [MEMBER], what="it runs at its target")
        coming_back = asyncio.create_task(come_back(cluster, how))
        await until(lambda: hosts_of(cluster) == [], what="its target's guard has ended it")
        target.start_agent()
        await coming_back
        await until(lambda: len(cluster.where("web")) == 1, what="it runs again", timeout_s=90.0)
        await cluster.rest()
        assert not is_in(cluster, Phase.DEPARTED)
        assert cluster.violations() == []

    in_cluster(scene)


def notes(cluster: Cluster) -> tuple[str, ...]:
    value = raw(cluster, cluster.world.keys.node_status(NodeName(HOME)))
    return decode(NodeStatus, value, where=HOME).notes if value else ()


@pytest.mark.parametrize("silence", ["cut from the store", "agent stopped"])
def test_guest_on_its_way_out_while_it_is_being_stopped_is_not_taken_for_stopped_with_its_node(silence: str) -> None:
    """It does not obey its shutdown, a hand moves it away in that time, and its node can say no more."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(HOME, MEMBER, "n3"), stop_timeout_s=NEVER_S)
        cluster.world.fabric.ignore_acpi("web")
        cluster.world.fabric.set_migration_time("web", 2.0)
        await cluster.hands.stop("web")
        await until(lambda: is_in(cluster, Phase.STOPPING), what="it is to stop")
        cluster.hands.virsh_migrate("web", OUTSIDE)
        await asyncio.sleep(1.0)
        home = cluster.hands.host(HOME)
        home.cut_from_store() if silence == "cut from the store" else home.stop_agent()
        await asyncio.sleep(30.0)
        await cluster.hands.start("web")
        await asyncio.sleep(20.0)
        assert cluster.where("web") == [OUTSIDE]
        assert is_in(cluster, Phase.DEPARTED)
        assert cluster.violations() == []

    in_cluster(scene)


def test_guest_whose_way_out_broke_while_it_is_being_stopped_is_stopped() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(HOME, MEMBER, "n3"), stop_timeout_s=10.0)
        cluster.world.fabric.ignore_acpi("web")
        cluster.world.fabric.set_migration_time("web", 2.0)
        cluster.world.fabric.fail_migration("web")
        await cluster.hands.stop("web")
        await until(lambda: is_in(cluster, Phase.STOPPING), what="it is to stop")
        cluster.hands.virsh_migrate("web", OUTSIDE)
        await until(lambda: is_in(cluster, Phase.STOPPED), what="it is stopped", timeout_s=60.0)
        assert cluster.where("web") == []
        await cluster.hands.start("web")
        await until(lambda: cluster.where("web") == [HOME], what="it runs again", timeout_s=30.0)
        assert cluster.violations() == []

    in_cluster(scene)


def test_it_is_told_what_a_former_session_waits_for_while_what_libvirt_wrote_down_can_not_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(_: SimulatedHypervisor, name: str) -> str | None:
        raise HypervisorUnavailable(f"libvirt's log of {name} can not be read now")

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        cluster.hands.host(HOME).stop_agent()
        with monkeypatch.context() as broken:
            broken.setattr(SimulatedHypervisor, "recall_migration", refuse)
            await come_back(cluster, "after its hold")
            told = "waits until it is known how web ended here: libvirt's log of web can not be read now"
            await until(lambda: any(told in note for note in notes(cluster)), what="it is told", timeout_s=30.0)
            assert hosts_of(cluster) == []
        await cluster.rest()
        assert len(cluster.where("web")) == 1
        assert cluster.violations() == []

    in_cluster(scene)
