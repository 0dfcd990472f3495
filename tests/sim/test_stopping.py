"""Stopping a guest that does not listen."""

import asyncio

import pytest

from tests.sim.probes import placement
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.records import Phase
from vmha.model.restart import RestartKind
from vmha.model.vm import Desired, ShutdownBy
from vmha.operator import vms

STOP_S = 20.0


async def started_deaf(
    cluster: Cluster, *, no_kill: bool, stop_timeout_s: float = STOP_S, by: ShutdownBy = ShutdownBy.ACPI
) -> None:
    how = {"stop_timeout_s": stop_timeout_s, "no_kill": no_kill, "shutdown_by": by}
    await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True, **how)
    await cluster.rest()
    guest = cluster.hands.find_guest("web")
    assert guest is not None
    guest.memory.obeys_acpi = False


async def stopped(cluster: Cluster) -> None:
    await vms.set_desired(cluster.hands.operator, "web", Desired.STOPPED)
    await cluster.observer.settle(quiet_s=4.0, at_most_s=3 * STOP_S)


def test_guest_that_ignores_its_shutdown_is_ended_by_force_when_its_time_is_over() -> None:
    async def scene(cluster: Cluster) -> tuple[float, list[str]]:
        await started_deaf(cluster, no_kill=False)
        began = cluster.world.clock.now()
        await stopped(cluster)
        return cluster.world.fabric.history[-1].time - began, cluster.where("web")

    took_s, where = in_cluster(scene)
    assert where == []
    assert took_s >= STOP_S


def test_guest_that_was_booting_when_it_was_asked_to_shut_down_is_asked_again() -> None:
    async def scene(cluster: Cluster) -> tuple[float, list[str]]:
        await started_deaf(cluster, no_kill=False, stop_timeout_s=600.0)
        began = cluster.world.clock.now()
        await vms.set_desired(cluster.hands.operator, "web", Desired.STOPPED)
        await asyncio.sleep(5.0)
        guest = cluster.hands.find_guest("web")
        assert guest is not None
        guest.memory.obeys_acpi = True  # it is up now, and has heard nothing
        await cluster.rest()
        return cluster.world.fabric.history[-1].time - began, cluster.where("web")

    took_s, where = in_cluster(scene)
    assert where == []
    assert took_s < 600.0


def test_guest_that_must_not_be_killed_runs_on_and_holds_its_place_until_it_listens() -> None:
    async def scene(cluster: Cluster) -> list[list[str]]:
        await started_deaf(cluster, no_kill=True)
        await stopped(cluster)
        seen = [cluster.where("web")]
        placement = (await cluster.hands.operator.read()).vms["web"].placement  # type: ignore[index]
        assert placement is not None
        assert placement.value.phase is Phase.STOPPING
        guest = cluster.hands.find_guest("web")
        assert guest is not None
        guest.memory.obeys_acpi = True
        await cluster.rest()
        return [*seen, cluster.where("web")]

    (before, after) = in_cluster(scene)
    assert len(before) == 1
    assert after == []


def test_paused_guest_that_must_not_be_killed_is_not_ended_by_a_stop_a_restart_or_a_relocation() -> None:
    """A guest that stands still answers no shutdown; RGManager ended it then, whatever no_kill said."""

    async def scene(cluster: Cluster) -> list[str]:
        await started_deaf(cluster, no_kill=True)
        guest = cluster.hands.find_guest("web")
        assert guest is not None
        cluster.hands.virsh_suspend("web")
        await cluster.hands.restart("web")
        await cluster.observer.settle(quiet_s=4.0, at_most_s=3 * STOP_S)
        assert cluster.hands.find_guest("web") is guest
        await cluster.hands.relocate("web", None)
        await stopped(cluster)
        assert cluster.hands.find_guest("web") is guest
        return [deed for fact in cluster.world.fabric.history if (deed := str(fact.deed)) == "ends"]

    assert in_cluster(scene) == []


def test_guest_that_must_not_be_killed_any_more_when_it_is_to_be_stopped_by_force_is_asked_instead() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True, stop_timeout_s=STOP_S)
        await cluster.rest()
        first, (host,) = cluster.hands.find_guest("web"), cluster.where("web")
        cluster.hands.host(host).stop_agent()  # it reads of both when it is back, at once
        await cluster.hands.restart("web", RestartKind.HARD)
        await until(lambda: stops(cluster), what="it is to be stopped")
        await vms.edit(cluster.hands.operator, "web", no_kill=True)
        cluster.hands.host(host).start_agent()
        await until(lambda: cluster.hands.find_guest("web") not in (None, first), what="it is restarted")

    in_cluster(scene)


def stops(cluster: Cluster) -> bool:
    held = placement(cluster, "web")
    return held is not None and held.phase is Phase.STOPPING


def test_saving_that_fails_ends_no_guest_that_must_not_be_killed() -> None:
    async def scene(cluster: Cluster) -> None:
        saves = {"directory": "/saves", "timeout_s": 2}
        await cluster.hands.add(
            "web", memory_mib=1024, vcpus=1, start=True, stop_timeout_s=STOP_S, no_kill=True, saved_state=saves
        )
        await cluster.rest()
        guest = cluster.hands.find_guest("web")
        assert guest is not None
        guest.memory.obeys_acpi = False
        object.__setattr__(cluster.world.fabric.timing, "save_s", 100.0)
        await stopped(cluster)
        assert cluster.hands.find_guest("web") is guest

    in_cluster(scene)


@pytest.mark.parametrize(
    ("by", "has_agent", "is_obeyed"),
    [
        (ShutdownBy.ACPI, True, False),
        (ShutdownBy.AGENT, True, True),
        (ShutdownBy.AGENT, False, False),
        (ShutdownBy.AGENT_THEN_ACPI, True, True),
        (ShutdownBy.AGENT_THEN_ACPI, False, False),
    ],
)
def test_guest_that_is_deaf_to_its_power_button_is_shut_down_by_its_agent_where_it_has_one(
    by: ShutdownBy, has_agent: bool, is_obeyed: bool
) -> None:
    async def scene(cluster: Cluster) -> float:
        await started_deaf(cluster, no_kill=False, by=by)
        if has_agent:
            cluster.world.fabric.has_agent("web")
        began = cluster.world.clock.now()
        await stopped(cluster)
        assert cluster.where("web") == []
        return cluster.world.fabric.history[-1].time - began

    assert (in_cluster(scene) < STOP_S) is is_obeyed


@pytest.mark.parametrize("is_hung", [False, True])
def test_guest_whose_agent_ends_nothing_is_asked_by_its_power_button(is_hung: bool) -> None:
    """It is not there at all; or it is there and hangs, and so does nothing else."""

    async def scene(cluster: Cluster) -> float:
        await started_deaf(cluster, no_kill=False, stop_timeout_s=60.0, by=ShutdownBy.AGENT_THEN_ACPI)
        guest = cluster.hands.find_guest("web")
        assert guest is not None
        guest.memory.obeys_acpi = True
        guest.memory.has_agent = guest.memory.is_hung = is_hung
        began = cluster.world.clock.now()
        await stopped(cluster)
        assert cluster.where("web") == []
        return cluster.world.fabric.history[-1].time - began

    assert in_cluster(scene) < STOP_S


@pytest.mark.parametrize(("by", "took_s"), [(ShutdownBy.AGENT, STOP_S), (ShutdownBy.AGENT_THEN_ACPI, 0.0)])
def test_guest_whose_agent_may_not_shut_it_down_is_ended_all_the_same(by: ShutdownBy, took_s: float) -> None:
    """By its power button, or by force when its time is over."""

    async def scene(cluster: Cluster) -> float:
        await started_deaf(cluster, no_kill=False, by=by)
        guest = cluster.hands.find_guest("web")
        assert guest is not None
        guest.memory.obeys_acpi = guest.memory.has_agent = guest.memory.agent_refuses = True
        began = cluster.world.clock.now()
        await stopped(cluster)
        assert cluster.where("web") == []
        return cluster.world.fabric.history[-1].time - began

    assert took_s <= in_cluster(scene) < took_s + STOP_S / 2


def test_that_nobody_hears_it_is_shown_while_it_waits_to_be_ended_by_force() -> None:
    async def scene(cluster: Cluster) -> str:
        await started_deaf(cluster, no_kill=False, by=ShutdownBy.AGENT)
        await vms.set_desired(cluster.hands.operator, "web", Desired.STOPPED)
        await asyncio.sleep(STOP_S / 2)
        seen = (await cluster.hands.operator.read()).vms["web"].seen.values()  # type: ignore[index]
        return "; ".join(one.progress for one in seen)

    assert "its guest agent does not hear that it is to shut down" in in_cluster(scene)
