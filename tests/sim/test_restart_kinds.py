"""Restarts by kind under the real agents and leader: which memory goes on, which QEMU, and what is said otherwise."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.sim.probes import answered, placement, restart_agent
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.records import Outcome, Progress
from vmha.model.restart import DeedStage, RestartKind
from vmha.operator import vms

REBOOT, RESET, HARD = RestartKind.REBOOT, RestartKind.RESET, RestartKind.HARD


def played(scene: Callable[[Cluster], Awaitable[None]]) -> None:
    async def whole(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True, stop_timeout_s=20.0)
        await cluster.rest()
        await scene(cluster)
        await cluster.rest()
        assert len(cluster.where("web")) == 1
        assert cluster.violations() == []

    in_cluster(whole)


def memory(cluster: Cluster) -> object:
    """The same object as long as the guest has not been booted again."""
    guest = cluster.hands.find_guest("web")
    assert guest is not None
    return guest.memory


def epoch(cluster: Cluster) -> int:
    held = placement(cluster, "web")
    assert held is not None
    return held.epoch


async def restarted(cluster: Cluster, kind: RestartKind) -> Outcome:
    asked = await cluster.hands.restart("web", kind)
    return await answered(cluster, asked.id, timeout_s=60.0)


@pytest.mark.parametrize(("kind", "keeps_qemu"), [(REBOOT, True), (RESET, True), (HARD, False), (None, False)])
def test_guest_boots_again_where_it_ran_and_its_qemu_goes_on_or_does_not(
    kind: RestartKind | None, keeps_qemu: bool
) -> None:
    async def scene(cluster: Cluster) -> None:
        (home,), before, began = cluster.where("web"), memory(cluster), epoch(cluster)
        outcome = await restarted(cluster, kind or RestartKind.STOP_START)
        assert outcome.progress is Progress.DONE
        assert cluster.where("web") == [home]
        assert memory(cluster) is not before
        assert (epoch(cluster) == began) is keeps_qemu

    played(scene)


def test_guest_that_does_not_listen_is_not_rebooted_and_the_answer_names_the_kinds_that_do_not_ask() -> None:
    async def scene(cluster: Cluster) -> None:
        cluster.world.fabric.ignore_acpi("web")
        before = memory(cluster)
        outcome = await restarted(cluster, REBOOT)
        assert (outcome.progress, memory(cluster)) == (Progress.FAILED, before)
        assert "did not boot again in time; other kinds do not ask it: reset, hard" in outcome.text
        assert (await restarted(cluster, RESET)).progress is Progress.DONE
        assert memory(cluster) is not before

    played(scene)


def test_hard_restart_asks_no_guest_and_is_over_before_its_stop_timeout() -> None:
    async def scene(cluster: Cluster) -> None:
        await vms.edit(cluster.hands.operator, "web", stop_timeout_s=3600.0)
        cluster.world.fabric.ignore_acpi("web")
        assert (await restarted(cluster, HARD)).progress is Progress.DONE

    played(scene)


def test_hard_restart_is_refused_where_no_kill_forbids_it() -> None:
    async def scene(cluster: Cluster) -> None:
        await vms.edit(cluster.hands.operator, "web", no_kill=True)
        before = memory(cluster)
        outcome = await restarted(cluster, HARD)
        assert (outcome.progress, memory(cluster)) == (Progress.REJECTED, before)
        assert "vmha vm edit web --kill" in outcome.text

    played(scene)


@pytest.mark.parametrize("kind", [REBOOT, RESET])
def test_guest_that_is_paused_is_not_restarted_in_its_qemu(kind: RestartKind) -> None:
    async def scene(cluster: Cluster) -> None:
        cluster.hands.virsh_suspend("web")
        await cluster.rest()
        outcome = await restarted(cluster, kind)
        assert outcome.progress is Progress.REJECTED
        assert f"web is paused on {placement(cluster, 'web').node}" in outcome.text  # type: ignore[union-attr]
        cluster.hands.virsh_resume("web")

    played(scene)


def test_agent_that_dies_in_the_middle_leaves_nobody_knows_and_resets_no_guest_twice() -> None:
    async def scene(cluster: Cluster) -> None:
        (home,) = cluster.where("web")
        cluster.world.fabric.ignore_acpi("web")
        asked = await cluster.hands.restart("web", REBOOT)

        def is_begun() -> bool:
            held = placement(cluster, "web")
            return held is not None and held.deed is not None and held.deed.stage is DeedStage.BEGUN

        await until(is_begun, what="the reboot is begun")
        before = memory(cluster)
        restart_agent(cluster, home)
        outcome = await answered(cluster, asked.id, timeout_s=30.0)
        assert (outcome.progress, memory(cluster)) == (Progress.FAILED, before)
        assert "nobody knows whether it was done" in outcome.text

    played(scene)


def test_guest_that_crashes_while_it_is_to_boot_again_is_recovered_and_the_answer_says_so() -> None:
    async def scene(cluster: Cluster) -> None:
        cluster.world.fabric.ignore_acpi("web")
        asked = await cluster.hands.restart("web", REBOOT)
        await asyncio.sleep(2.0)
        cluster.hands.crash("web")
        outcome = await answered(cluster, asked.id, timeout_s=60.0)
        assert outcome.progress is Progress.FAILED
        assert "it ended instead" in outcome.text

    played(scene)


def test_node_that_is_lost_while_a_guest_is_to_boot_again_has_it_started_anew_elsewhere() -> None:
    async def scene(cluster: Cluster) -> None:
        (home,) = cluster.where("web")
        cluster.world.fabric.ignore_acpi("web")
        asked = await cluster.hands.restart("web", REBOOT)
        await asyncio.sleep(1.0)
        cluster.hands.host(home).power_off()
        outcome = await answered(cluster, asked.id, timeout_s=60.0)
        assert outcome.progress is Progress.DONE
        assert "it had ended, and was started anew" in outcome.text

    played(scene)


def test_nothing_moves_it_while_its_guest_is_to_boot_again() -> None:
    async def scene(cluster: Cluster) -> None:
        (home,) = cluster.where("web")
        cluster.world.fabric.ignore_acpi("web")
        asked = await cluster.hands.restart("web", REBOOT)
        await asyncio.sleep(1.0)
        await cluster.hands.drain(home)
        await answered(cluster, asked.id, timeout_s=60.0)
        assert cluster.where("web") == [home]
        await cluster.rest()
        assert cluster.where("web") != [home]

    played(scene)
