"""A guest that is a vm's by its uuid, and goes by another name on its host."""

import asyncio

import pytest

from tests.sim.probes import DOMAIN, add_running, answered, placement
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.port import DomainState
from vmha.model.records import Phase, Progress
from vmha.model.settings import ClusterConfig, GateMode, Profile
from vmha.model.vm import AfterShutdown
from vmha.operator.vms import add_vm
from vmha.sim.world.hands import domain_xml

XML = domain_xml("web", memory_mib=1024, vcpus=1)
RENAMED = XML.replace("<name>web<", "<name>db<")


async def rename(cluster: Cluster) -> None:
    """web runs on n1, is removed, and added again as db: its guest is still called web there."""
    await add_running(cluster, "web")
    await cluster.hands.remove("web")
    await cluster.rest()
    await add_vm(cluster.hands.operator, "db", RENAMED, start=True, on_guest_shutdown=AfterShutdown.STOP)
    await until(lambda: is_held(cluster), what="its guest to be adopted")
    await cluster.rest()
    assert cluster.where("web") == ["n1"]


def is_held(cluster: Cluster) -> bool:
    held = placement(cluster, "db")
    return held is not None and (held.phase, held.node) == (Phase.HELD, "n1")


def test_vm_that_was_given_another_name_is_stopped_by_the_name_that_its_guest_has() -> None:
    async def scene(cluster: Cluster) -> None:
        await rename(cluster)
        await cluster.hands.stop("db")
        await until(lambda: cluster.where("web") == [], what="its guest to end", timeout_s=60.0)
        await cluster.rest()
        held = placement(cluster, "db")
        assert held
        assert held.phase is Phase.STOPPED
        await cluster.hands.start("db")
        await until(lambda: len(cluster.where("db")) == 1, what="its start, by its own name")
        await cluster.hands.stop("db")
        await until(lambda: cluster.where("db") == [], what="its end by its own name", timeout_s=60.0)

    in_cluster(scene)


def test_it_migrates_and_keeps_the_name_that_it_has() -> None:
    async def scene(cluster: Cluster) -> None:
        await rename(cluster)
        asked = await cluster.hands.migrate("db", to="n2")
        assert (await answered(cluster, asked.id, timeout_s=60.0)).progress is Progress.DONE
        assert cluster.where("web") == ["n2"]
        await cluster.hands.stop("db")
        await until(lambda: cluster.where("web") == [], what="its guest to end there", timeout_s=60.0)

    in_cluster(scene)


@pytest.mark.parametrize("how", ["powers itself off", "crashes"])
def test_how_it_ended_is_known_and_it_comes_back_by_its_own_name(how: str) -> None:
    async def scene(cluster: Cluster) -> None:
        await rename(cluster)
        if how == "crashes":
            cluster.world.fabric.crash("web")
            await until(lambda: len(cluster.where("db")) == 1, what="it to be recovered", timeout_s=60.0)
        else:
            cluster.world.fabric.power_off_guest("web")
            await until(lambda: is_down(cluster), what="it to stay down", timeout_s=60.0)
        assert cluster.where("web") == []

    in_cluster(scene)


def is_down(cluster: Cluster) -> bool:
    held = placement(cluster, "db")
    return held is not None and held.phase is Phase.STOPPED and "powered itself off" in held.reason.text


def test_second_copy_that_somebody_made_under_another_name_is_made_to_stand_still() -> None:
    """By uuid it is the vm, and it writes to the same disk."""

    async def scene(cluster: Cluster) -> None:
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, gate=GateMode.OFF))
        await add_running(cluster, "web")
        cluster.hands.virsh_start(RENAMED, "n2")
        await until(lambda: bool(cluster.where("db")), what="the copy to run")
        await until(lambda: cluster.where("db") == [], what="the copy to be paused", timeout_s=20.0)
        assert cluster.world.fabric.instances("db") == [("n2", DomainState.PAUSED)]
        assert cluster.where("web") == ["n1"]

    in_cluster(scene)


@pytest.mark.parametrize(("how", "back"), [("adopted", "by a boot"), ("claimed", "at once"), ("migrated", "at once")])
def test_its_guest_that_a_hand_took_away_while_no_agent_was_there_is_missed(how: str, back: str) -> None:
    """libvirt's log of it goes by the guest's name, which only a former process has seen."""

    async def scene(cluster: Cluster) -> None:
        await rename(cluster)
        home = "n1"
        if how == "migrated":
            home = "n2"
            asked = await cluster.hands.migrate("db", to=home)
            assert (await answered(cluster, asked.id, timeout_s=60.0)).progress is Progress.DONE
        if how == "claimed":
            await cluster.hands.stop("db")
            await until(lambda: cluster.where("web") == [], what="its guest to end", timeout_s=60.0)
            await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, gate=GateMode.OFF))
            await cluster.rest()
            cluster.hands.virsh_start(XML, home)
            await cluster.hands.start("db")
        await cluster.rest()
        held = placement(cluster, "db")
        assert held
        assert (held.phase, held.node) == (Phase.HELD, home)
        host = cluster.hands.host(home)
        host.stop_agent()
        cluster.hands.virsh_migrate("web", "elsewhere")
        await until(lambda: cluster.world.fabric.instances("web")[0][0] == "elsewhere", what="it is outside")
        if back == "by a boot":
            host.power_off()
            host.power_on()
        else:
            host.start_agent()
        await until(lambda: is_departed(cluster), what="departed", timeout_s=60.0)
        await asyncio.sleep(20.0)
        assert cluster.where("db") == []
        assert cluster.where("web") == ["elsewhere"]

    in_cluster(scene)


def is_departed(cluster: Cluster) -> bool:
    held = placement(cluster, "db")
    return held is not None and held.phase is Phase.DEPARTED


def test_two_that_have_changed_names_are_ended_one_without_the_other() -> None:
    """The guest that has the one's name is the other's."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        await cluster.hands.add("db", memory_mib=1024, vcpus=1, start=True, failover_domain=DOMAIN)
        await until(lambda: cluster.where("db") == ["n1"], what="both run")
        for name in ("web", "db"):
            await cluster.hands.remove(name)
        await cluster.rest()
        client, db_xml = cluster.hands.operator, domain_xml("db", memory_mib=1024, vcpus=1)
        await add_vm(client, "db", RENAMED, start=True, stop_timeout_s=5.0)
        await add_vm(client, "web", db_xml.replace("<name>db<", "<name>web<"), start=True)
        await cluster.rest()
        assert (cluster.where("web"), cluster.where("db")) == (["n1"], ["n1"])
        cluster.world.fabric.ignore_acpi("web")
        await cluster.hands.stop("db")
        await until(lambda: is_stopped(cluster, "db"), what="db to be stopped", timeout_s=60.0)
        assert (cluster.where("web"), cluster.where("db")) == ([], ["n1"]), "the guest db is web's, and was not asked"
        await cluster.rest()
        assert cluster.where("db") == ["n1"]

    in_cluster(scene)


def is_stopped(cluster: Cluster, vm: str) -> bool:
    held = placement(cluster, vm)
    return held is not None and held.phase is Phase.STOPPED
