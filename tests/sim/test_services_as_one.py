"""Verbs about a service as a whole: restarted and relocated in order, started on a node, frozen; what is refused."""

import asyncio

import pytest

from tests.sim.test_services import VMS, another, boots, deeds, in_shop, where
from tests.support.until import until
from tests.support.worlds import Cluster
from vmha.hypervisor.twin.fabric_state import Deed
from vmha.model.ids import NodeName
from vmha.model.records import Phase
from vmha.model.restart import RestartKind
from vmha.model.vm import Desired
from vmha.operator import service_verbs
from vmha.operator.errors import RefusedByCluster, UnknownName
from vmha.operator.follow import request_ended, wait
from vmha.operator.service_view import move, service_is
from vmha.operator.services import set_desired


async def ended(cluster: Cluster, asked: list[object]) -> str:
    goal = service_verbs.all_ended(cluster.hands.operator, "shop", asked)  # type: ignore[arg-type]
    return await wait(cluster.hands.operator, goal, timeout_s=300.0)


@pytest.mark.parametrize("kind", [None, RestartKind.HARD])
def test_restarted_they_end_in_reverse_and_start_in_order_where_they_were(kind: RestartKind | None) -> None:
    async def scene(cluster: Cluster) -> None:
        home = where(cluster)
        asked = await service_verbs.restart(cluster.hands.operator, "shop", kind=kind)
        assert await ended(cluster, list(asked)) == f"service shop is running on {home}"
        assert where(cluster) == home
        assert deeds(cluster, Deed.ENDS) == list(reversed(VMS))
        assert deeds(cluster, Deed.RUNS) == [*VMS, *VMS]

    in_shop(scene)


def test_reset_guests_boot_again_and_their_qemus_go_on() -> None:
    async def scene(cluster: Cluster) -> None:
        home, pids = where(cluster), boots(cluster)
        asked = await service_verbs.restart(cluster.hands.operator, "shop", kind=RestartKind.RESET)
        assert await ended(cluster, list(asked)) == f"service shop is running on {home}"
        assert (deeds(cluster, Deed.ENDS), pids) == ([], len(VMS))

    in_shop(scene)


@pytest.mark.parametrize("is_named", [True, False])
def test_relocated_they_end_in_reverse_and_start_in_order_on_another_node(is_named: bool) -> None:
    async def scene(cluster: Cluster) -> None:
        home = where(cluster)
        target = another(home)
        asked = await service_verbs.relocate(cluster.hands.operator, "shop", to=target if is_named else None)
        said = await ended(cluster, list(asked))
        assert said == f"service shop is running on {where(cluster)}"
        assert where(cluster) == target if is_named else where(cluster) != home
        assert deeds(cluster, Deed.ENDS) == list(reversed(VMS))
        assert deeds(cluster, Deed.RUNS) == [*VMS, *VMS]
        await cluster.rest()
        assert deeds(cluster, Deed.ENDS) == list(reversed(VMS)), "it stays there"

    in_shop(scene)


def test_relocation_that_no_node_can_take_stops_nothing() -> None:
    async def scene(cluster: Cluster) -> None:
        home = where(cluster)
        for node in {"n1", "n2", "n3"} - {home}:
            await cluster.hands.drain(node)
        with pytest.raises(RefusedByCluster, match="nothing was stopped"):
            await service_verbs.relocate(cluster.hands.operator, "shop")
        with pytest.raises(RefusedByCluster, match=f"shop is on {home}"):
            await service_verbs.relocate(cluster.hands.operator, "shop", to=home)
        with pytest.raises(UnknownName, match="n1"):
            await service_verbs.relocate(cluster.hands.operator, "shop", to="n11")
        await cluster.rest()
        assert deeds(cluster, Deed.ENDS) == []

    in_shop(scene)


def test_member_that_crashes_or_is_stopped_in_the_middle_of_a_restart_keeps_the_others_from_nothing() -> None:
    async def scene(cluster: Cluster) -> None:
        guest = cluster.hands.find_guest("web")
        assert guest
        guest.memory.obeys_acpi = False  # it takes its time to end
        asked = await service_verbs.restart(cluster.hands.operator, "shop")
        await asyncio.sleep(3.0)
        assert deeds(cluster, Deed.ENDS) == [], "the others wait for it"
        cluster.hands.crash("app")
        await cluster.hands.stop("db")
        await until(lambda: bool(cluster.where("web") and cluster.where("app")), what="they run again", timeout_s=300.0)
        await cluster.rest()
        assert cluster.where("db") == []
        snapshot = await cluster.hands.operator.read()
        assert all(request.id in snapshot.outcomes for request in asked), "each has its answer"
        await cluster.hands.start("db")
        await cluster.rest()
        assert where(cluster)

    in_shop(scene)


def test_leader_that_is_lost_in_the_middle_of_a_restart_is_followed_by_one_that_goes_on_with_it() -> None:
    async def scene(cluster: Cluster) -> None:
        home = where(cluster)
        asked = await service_verbs.restart(cluster.hands.operator, "shop")
        await until(lambda: deeds(cluster, Deed.ENDS) == ["web"], what="the last one is down", timeout_s=60.0)
        leader = cluster.observer.snapshot.leader
        assert leader is not None
        cluster.hands.host(leader.value.node).kill_agent()
        await ended(cluster, list(asked))
        await cluster.rest()
        assert where(cluster) == home
        assert deeds(cluster, Deed.RUNS) == [*VMS, *VMS]

    in_shop(scene)


def test_started_on_a_node_that_is_named_all_run_there() -> None:
    async def scene(cluster: Cluster) -> None:
        client, target = cluster.hands.operator, another(where(cluster))
        with pytest.raises(RefusedByCluster, match="vmha service migrate shop --to"):
            await service_verbs.start_on(client, "shop", target, is_enable=False, timeout_s=60.0)
        await set_desired(client, "shop", Desired.STOPPED)
        await wait(client, service_is(client, "shop", Desired.STOPPED), timeout_s=60.0)
        await service_verbs.start_on(client, "shop", target, is_enable=False, timeout_s=60.0)
        await wait(client, service_is(client, "shop", Desired.RUNNING), timeout_s=60.0)
        assert where(cluster) == target

    in_shop(scene)


def test_frozen_service_is_left_alone_as_a_whole_until_it_is_unfrozen() -> None:
    async def scene(cluster: Cluster) -> None:
        client, home = cluster.hands.operator, where(cluster)
        await service_verbs.freeze(client, "shop", reason="maintenance")
        with pytest.raises(RefusedByCluster, match="maintenance"):
            await service_verbs.restart(client, "shop")
        cluster.hands.crash("app")
        await cluster.rest()
        assert cluster.where("app") == []
        assert sorted(await service_verbs.unfreeze(client, "shop")) == sorted(VMS)
        assert await service_verbs.unfreeze(client, "shop") == {}
        await cluster.rest()
        assert where(cluster) == home

    in_shop(scene)


def test_move_is_called_off_as_long_as_its_first_vm_is_on_its_way() -> None:
    async def scene(cluster: Cluster) -> None:
        client, home = cluster.hands.operator, where(cluster)
        target = NodeName(another(home))
        with pytest.raises(RefusedByCluster, match="db is not being migrated"):
            await service_verbs.cancel_move(client, "shop")
        cluster.world.fabric.set_migration_time("db", 20.0)
        await move(client, "shop", target)

        def is_moving() -> bool:
            view = cluster.observer.snapshot.vms["db"]  # type: ignore[index]
            return view.placement is not None and view.placement.value.phase is Phase.MIGRATING

        await until(is_moving, what="the first one is on its way", timeout_s=30.0)
        request = await service_verbs.cancel_move(client, "shop")
        await wait(client, request_ended(client, request.id, vm=request.vm), timeout_s=60.0)
        await cluster.rest()
        assert where(cluster) == home
        cluster.world.fabric.set_migration_time("app", 20.0)
        await move(client, "shop", target)
        await until(lambda: cluster.where("db") == [target], what="the first one is there", timeout_s=60.0)
        with pytest.raises(RefusedByCluster, match="db has moved to"):
            await service_verbs.cancel_move(client, "shop")
        await cluster.rest()
        assert where(cluster) == target

    in_shop(scene)


def test_service_of_which_nothing_is_to_run_is_not_restarted() -> None:
    async def scene(cluster: Cluster) -> None:
        client = cluster.hands.operator
        await set_desired(client, "shop", Desired.STOPPED)
        await cluster.rest()
        with pytest.raises(RefusedByCluster, match="vmha service start shop"):
            await service_verbs.restart(client, "shop")
        await set_desired(client, "shop", Desired.DISABLED)
        with pytest.raises(RefusedByCluster, match="vmha service enable shop"):
            await service_verbs.relocate(client, "shop")

    in_shop(scene)
