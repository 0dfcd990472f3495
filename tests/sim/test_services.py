"""Vms that stay together, with the real agents and leader: started in order, moved live, lost and found as one."""

from collections.abc import Awaitable, Callable

import pytest

from tests.sim.test_rgmanager_commands import Shell
from tests.sim.test_scenarios import ends_on, moves
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.twin.fabric_state import Deed
from vmha.model.ids import NodeName
from vmha.model.service import Service
from vmha.model.vm import Desired, Recovery
from vmha.operator.errors import OperationFailed
from vmha.operator.follow import wait
from vmha.operator.service_view import ServiceState, move, service_has_moved, service_is, service_line
from vmha.operator.services import set_desired

VMS = ("db", "app", "web")


def in_shop(scene: Callable[[Cluster], Awaitable[None]], **service: object) -> None:
    """A cluster in which the service runs."""

    async def play(cluster: Cluster) -> None:
        for vm in VMS:
            await cluster.hands.add(vm, memory_mib=1024, vcpus=1, start=False)
        await cluster.hands.add_service(Service.model_validate({"name": "shop", "members": VMS, **service}))
        await set_desired(cluster.hands.operator, "shop", Desired.RUNNING)
        await cluster.rest()
        await scene(cluster)
        assert cluster.violations() == []

    in_cluster(play)


def where(cluster: Cluster) -> str:
    """The one node on which all of it runs."""
    nodes = {tuple(cluster.where(vm)) for vm in VMS}
    assert len(nodes) == 1, nodes
    ((node,),) = nodes
    return node


def another(node: str) -> str:
    return next(name for name in ("n1", "n2", "n3") if name != node)


def deeds(cluster: Cluster, deed: Deed) -> list[str]:
    return [fact.vm for fact in cluster.world.fabric.history if fact.deed is deed]


def boots(cluster: Cluster) -> int:
    return len({id(cluster.world.fabric.host(host).guests[vm].memory) for vm in VMS for host in cluster.where(vm)})


async def migrate(cluster: Cluster, to: str) -> str:
    request, vm = await move(cluster.hands.operator, "shop", to)
    goal = service_has_moved(cluster.hands.operator, "shop", request, vm)
    return await wait(cluster.hands.operator, goal, timeout_s=300.0)


def test_they_start_in_order_on_one_node_and_end_in_reverse() -> None:
    async def scene(cluster: Cluster) -> None:
        assert where(cluster)
        assert deeds(cluster, Deed.RUNS) == list(VMS)
        await set_desired(cluster.hands.operator, "shop", Desired.STOPPED)
        said = await wait(
            cluster.hands.operator, service_is(cluster.hands.operator, "shop", Desired.STOPPED), timeout_s=60.0
        )
        assert said == "service shop is stopped"
        assert deeds(cluster, Deed.ENDS) == list(reversed(VMS))

    in_shop(scene)


def test_all_move_live_to_the_node_that_is_asked_for_one_after_another() -> None:
    async def scene(cluster: Cluster) -> None:
        target = another(where(cluster))
        memories = {vm: cluster.world.fabric.host(where(cluster)).guests[vm].memory for vm in VMS}
        assert await migrate(cluster, target) == f"service shop is running on {target}"
        assert where(cluster) == target
        assert all(cluster.world.fabric.host(target).guests[vm].memory is memory for vm, memory in memories.items())

    in_shop(scene)


def test_lost_node_loses_all_and_they_are_together_again_elsewhere() -> None:
    async def scene(cluster: Cluster) -> None:
        lost = where(cluster)
        cluster.hands.host(lost).power_off()
        await until(lambda: all(cluster.where(vm) not in ([], [lost]) for vm in VMS), what="they run", timeout_s=90.0)
        await cluster.rest()
        assert where(cluster) != lost

    in_shop(scene)


def test_drained_node_is_left_by_all_and_they_are_together_again() -> None:
    async def scene(cluster: Cluster) -> None:
        home = where(cluster)
        await cluster.hands.drain(home)
        await cluster.rest()
        assert where(cluster) != home
        assert deeds(cluster, Deed.ENDS) == list(VMS), "each left it once, by migration"

    in_shop(scene)


def test_one_that_can_not_be_moved_has_the_others_come_back_to_it_and_the_request_says_so() -> None:
    async def scene(cluster: Cluster) -> None:
        home = where(cluster)
        cluster.world.fabric.fail_migration("web", times=100)
        with pytest.raises(OperationFailed, match="not all vms of service shop could follow"):
            await migrate(cluster, another(home))
        await cluster.rest()
        assert where(cluster) == home
        assert boots(cluster) == len(VMS)

    in_shop(scene)


def test_hand_that_moves_one_moves_all() -> None:
    async def scene(cluster: Cluster) -> None:
        target = another(where(cluster))
        cluster.hands.virsh_migrate("app", target)
        await until(lambda: all(cluster.where(vm) == [target] for vm in VMS), what="all follow it", timeout_s=60.0)
        await cluster.rest()
        assert where(cluster) == target

    in_shop(scene)


def test_one_that_crashes_is_started_beside_the_others_or_takes_them_elsewhere() -> None:
    async def beside(cluster: Cluster) -> None:
        home = where(cluster)
        cluster.hands.crash("app")
        await cluster.rest()
        assert where(cluster) == home

    async def elsewhere(cluster: Cluster) -> None:
        home = where(cluster)
        cluster.hands.crash("app")
        await cluster.rest()
        assert where(cluster) != home

    in_shop(beside)
    in_shop(elsewhere, recovery=Recovery.RELOCATE)


def test_host_that_shuts_down_in_good_order_is_left_by_all() -> None:
    async def scene(cluster: Cluster) -> None:
        home = where(cluster)
        cluster.hands.shutdown(home)
        await until(lambda: not cluster.hands.host(home).has_power, what="it is off", timeout_s=200.0)
        await cluster.rest()
        assert where(cluster) != home

    in_shop(scene)


def test_vms_that_run_apart_when_they_become_a_service_are_brought_together_live() -> None:
    async def scene(cluster: Cluster) -> None:
        for vm in VMS:
            await cluster.hands.add(vm, memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        assert len({tuple(cluster.where(vm)) for vm in VMS}) == 3
        await cluster.hands.add_service(Service(name="shop", members=VMS))
        await cluster.rest()
        line = service_line(cluster.observer.snapshot, "shop", wall=cluster.world.clock.wall())
        assert (line.state, line.node) == (ServiceState.RUNNING, NodeName(where(cluster)))
        assert boots(cluster) == len(VMS)
        assert deeds(cluster, Deed.ENDS).count("db") == 0, "the others came to the first one"
        assert cluster.violations() == []

    in_cluster(scene)


def test_rgmanagers_commands_are_about_the_whole_service(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(cluster: Cluster) -> None:
        shell, home = Shell(cluster, capsys), where(cluster)
        target = another(home)
        assert await shell.clustat("service:shop") == 0
        code, out = await shell.clusvcadm(f"-M service:shop -m {target}")
        assert (code, out.splitlines()[-1]) == (0, f"service:shop is now running on {target}")
        assert where(cluster) == target
        code, out = await shell.clusvcadm(f"-r service:shop -m {home}")
        assert (code, where(cluster)) == (0, home)
        assert "its vms move live" in shell.err
        assert boots(cluster) == len({fact.vm for fact in cluster.world.fabric.history}) == len(VMS)
        assert await shell.clusvcadm("-s service:shop") == (0, "Local machine stopping service:shop...Success")
        assert await shell.clustat("service:shop") == 110
        assert (await shell.clusvcadm("-e service:shop"))[0] == 0
        assert where(cluster)
        assert await shell.clusvcadm("-e service:shop") == (
            0,
            f"Local machine trying to enable service:shop...Service is already running\n"
            f"service:shop is now running on {where(cluster)}",
        )
        assert (await shell.clusvcadm("-Z service:shop"))[0] == 0
        assert (await shell.clusvcadm("-d service:shop"))[0] == 245
        assert (await shell.clusvcadm("-U service:shop"))[0] == 0
        assert (await shell.clusvcadm("-d service:shop"))[0] == 0
        assert await shell.clustat("service:shop") == 119
        assert (await shell.clusvcadm("-e service:shp"))[0] == 252
        assert "did you mean shop" in shell.err

    in_shop(scene)


def test_service_of_the_example_is_on_one_node_after_each_thing_that_happens() -> None:
    assert {ends_on("service", vm) for vm in VMS} == {"n2"}
    for vm in VMS:
        assert moves("service", vm) == [
            ("start", "n1"),
            ("migrate", "n2"),
            ("handed over", "n2"),
            ("migrate", "n1"),
            ("handed over", "n1"),
            ("start", "n2"),
        ]
