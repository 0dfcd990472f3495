"""A vm that is removed, runs on as nobody's, and is added again: where it ran is not forgotten with it."""

import asyncio

import pytest

from tests.sim.probes import add_running, answered, placement, see_at_once
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.records import Phase, Progress
from vmha.operator.vms import add_vm
from vmha.sim.world.hands import domain_xml


async def remove_and_lose(cluster: Cluster) -> None:
    """It runs on n1, unmanaged, and nobody reaches n1 any more; its session is over by the guard's time."""
    await add_running(cluster, "web")
    await cluster.hands.remove("web")
    await cluster.rest()
    cluster.hands.host("n1").cut()
    await until(lambda: beat_is_gone(cluster), what="n1 to be evicted", timeout_s=60.0)
    assert cluster.where("web") == ["n1"]  # its guard has ended nothing: it was nobody's


def beat_is_gone(cluster: Cluster) -> bool:
    return cluster.observer.snapshot.nodes["n1"].beat is None  # type: ignore[index]


async def waits_for_n1(cluster: Cluster, vm: str = "web") -> None:
    await cluster.rest()
    await asyncio.sleep(30.0)
    assert cluster.where(vm) == (["n1"] if vm == "web" else [])
    held = placement(cluster, vm)
    assert held
    assert "n1 ran it when it was removed" in held.reason.text


def test_vm_removed_and_added_again_while_its_node_is_lost_is_not_started_and_goes_on_there_when_it_is_back() -> None:
    async def scene(cluster: Cluster) -> None:
        await remove_and_lose(cluster)
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await waits_for_n1(cluster)
        cluster.hands.host("n1").heal()
        await cluster.rest()
        assert cluster.where("web") == ["n1"]
        assert cluster.observer.snapshot.removed == {}
        assert cluster.violations() == []

    in_cluster(scene)


def test_it_is_known_under_another_name_by_its_uuid() -> None:
    async def scene(cluster: Cluster) -> None:
        await remove_and_lose(cluster)
        xml = domain_xml("web", memory_mib=1024, vcpus=1).replace("<name>web<", "<name>db<")
        await add_vm(cluster.hands.operator, "db", xml, start=True)
        await waits_for_n1(cluster, "db")

    in_cluster(scene)


@pytest.mark.parametrize("is_added_first", [False, True])
def test_vm_boots_elsewhere_once_its_node_is_back_without_it(is_added_first: bool) -> None:
    async def scene(cluster: Cluster) -> None:
        await remove_and_lose(cluster)
        if is_added_first:
            await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
            await waits_for_n1(cluster)
        cluster.hands.host("n1").power_off()
        cluster.hands.host("n1").heal()
        cluster.hands.host("n1").power_on()
        await cluster.rest()
        if not is_added_first:
            assert cluster.observer.snapshot.removed == {}
            await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await until(lambda: len(cluster.where("web")) == 1, what="it to run")
        assert cluster.violations() == []

    in_cluster(scene)


def test_operator_who_knows_better_says_so() -> None:
    async def scene(cluster: Cluster) -> None:
        await remove_and_lose(cluster)
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await waits_for_n1(cluster)
        cluster.hands.host("n1").power_off()
        asked = await cluster.hands.confirm_gone("web")
        assert (await answered(cluster, asked.id, timeout_s=10.0)).progress is Progress.DONE
        await until(lambda: len(cluster.where("web")) == 1, what="it to run")
        assert cluster.violations() == []

    in_cluster(scene)


def test_vm_removed_in_the_middle_of_its_start_is_known_where_it_comes_up() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await until(lambda: bool(cluster.world.fabric.instances("web")), what="its start")
        (home, _), *_ = cluster.world.fabric.instances("web")
        await cluster.hands.remove("web")
        await cluster.rest()
        assert cluster.where("web") == [home]
        (record,) = cluster.observer.snapshot.removed.values()
        assert [place.node for place in record.value.places] == [home]

    in_cluster(scene)


def test_removed_vm_that_ends_is_forgotten() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        await cluster.hands.remove("web")
        await cluster.rest()
        assert cluster.observer.snapshot.removed
        cluster.world.fabric.virsh_destroy("web", "n1")
        await until(lambda: not cluster.observer.snapshot.removed, what="it to be forgotten")

    in_cluster(scene)


def test_removed_vm_that_a_hand_moves_is_known_where_it_went() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        await cluster.hands.remove("web")
        await cluster.rest()
        cluster.hands.virsh_migrate("web", "n3")
        await cluster.rest()
        (record,) = cluster.observer.snapshot.removed.values()
        assert [place.node for place in record.value.places] == ["n3"]

    in_cluster(scene)


def test_guest_of_a_removed_vm_is_left_alone_by_guard_and_shutdown() -> None:
    """It is looked for, and is nobody's to end."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        await cluster.hands.remove("web")
        await cluster.rest()
        member = cluster.hands.host("n1").member
        assert member
        assert member.agent.inventory.managed_uuids() == ()

    in_cluster(scene)


@pytest.mark.parametrize("powered_off", [False, True])
def test_new_vm_that_a_hand_had_started_on_a_node_that_left_waits_for_it(powered_off: bool) -> None:
    async def scene(cluster: Cluster) -> None:
        n1 = cluster.hands.host("n1")
        cluster.hands.virsh_start(domain_xml("web", memory_mib=1024, vcpus=1), "n1")
        await cluster.rest()
        if powered_off:
            n1.power_off()
        else:
            n1.stop_agent()
        await until(lambda: beat_is_gone(cluster), what="n1 to be evicted", timeout_s=60.0)
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        await asyncio.sleep(30.0)
        assert cluster.where("web") == ([] if powered_off else ["n1"])
        held = placement(cluster, "web")
        assert held
        assert "n1 is offline and has not looked for it" in held.reason.text
        if powered_off:
            n1.power_on()
        else:
            n1.start_agent()
        await until(lambda: len(cluster.where("web")) == 1 and is_held(cluster), what="it to run, and to be held")
        assert powered_off or cluster.where("web") == ["n1"]
        assert cluster.violations() == []

    in_cluster(scene)


def is_held(cluster: Cluster) -> bool:
    held = placement(cluster, "web")
    return held is not None and held.phase is Phase.HELD


@pytest.mark.parametrize("comes_back", [False, True])
def test_claim_on_a_removed_vm_is_forgotten_when_the_source_of_its_migration_is_lost(comes_back: bool) -> None:
    async def scene(cluster: Cluster) -> None:
        await remove_on_its_way(cluster)
        host = cluster.hands.host("n1")
        host.power_off()
        await until(lambda: beat_is_gone(cluster), what="n1 to be evicted", timeout_s=60.0)
        if comes_back:
            host.power_on()
        await is_forgotten(cluster)

    in_cluster(scene)


@pytest.mark.parametrize("comes_back", [False, True])
def test_claim_on_a_removed_vm_is_forgotten_when_its_target_is_lost_before_it_let_it_go_on(comes_back: bool) -> None:
    async def scene(cluster: Cluster) -> None:
        await remove_on_its_way(cluster)
        await see_at_once(lambda: phase(cluster) is Phase.ASSIGNED or None)
        host = cluster.hands.host("n2")
        host.power_off()
        if comes_back:
            await cluster.rest()
            host.power_on()
        await is_forgotten(cluster)

    in_cluster(scene)


async def remove_on_its_way(cluster: Cluster) -> None:
    await add_running(cluster, "web")
    cluster.world.fabric.set_migration_time("web", 2.0)
    await cluster.hands.migrate("web", "n2")
    await until(lambda: phase(cluster) is Phase.MIGRATING, what="it is on its way")
    await cluster.hands.remove("web")


def phase(cluster: Cluster) -> Phase | None:
    held = placement(cluster, "web")
    return held.phase if held else None


async def is_forgotten(cluster: Cluster) -> None:
    await until(lambda: phase(cluster) is None, what="nobody holds it", timeout_s=90.0)
    assert cluster.where("web") == []
    assert cluster.violations() == []
