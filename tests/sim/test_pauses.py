"""Guests that stand still: what becomes of them, by the reason."""

import asyncio

from tests.sim.test_health import add, boots, journal
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.lifecycle import Suspended
from vmha.hypervisor.port import DomainState
from vmha.hypervisor.twin import fabric_frozen
from vmha.hypervisor.twin.fabric_pauses import fail_disk, stop_by
from vmha.model.ids import VmName
from vmha.model.standing import OnIoError, OnPause, OnTrouble
from vmha.operator.overview import overview
from vmha.policy.plan import judge_all
from vmha.policy.telling.explain import summarize
from vmha.sim.judge.invariants import Violation


def why(cluster: Cluster) -> str:
    snapshot = cluster.observer.snapshot
    return summarize(snapshot.vms[VmName("web")], snapshot, judge_all(snapshot, cluster.observer.moment())).reason


def test_guest_whose_disk_is_back_is_resumed_with_its_memory() -> None:
    async def scene(cluster: Cluster) -> tuple[list[str], list[str], list[str], str]:
        await add(cluster)
        await cluster.rest()
        (here,) = cluster.where("web")
        fail_disk(cluster.world.fabric, "web", here)
        await asyncio.sleep(10.0)
        assert cluster.where("web") == []
        said = why(cluster)
        fail_disk(cluster.world.fabric, "web", here, False)
        await asyncio.sleep(10.0)
        await cluster.rest()
        assert cluster.violations() == []
        return boots(cluster), cluster.where("web"), journal(cluster, "resumed"), said

    started, where, told, said = in_cluster(scene)
    assert started == where
    assert len(told) == 1
    assert said == "its disk failed (on_pause.io_error: resume)"


def test_guest_whose_disk_stays_away_goes_to_another_node_after_a_time() -> None:
    async def scene(cluster: Cluster) -> tuple[list[str], str]:
        await add(cluster, on_pause=OnPause(io_error_relocate_after_s=20.0))
        await cluster.rest()
        (here,) = cluster.where("web")
        fail_disk(cluster.world.fabric, "web", here)
        await asyncio.sleep(30.0)
        await cluster.rest()
        assert cluster.violations() == []
        assert cluster.where("web") not in ([], [here])
        return boots(cluster), journal(cluster, "stopped")[-1]

    started, told = in_cluster(scene)
    assert len(started) == 2
    assert "its disk has been failing here for 20 s" in told


def test_guest_that_a_user_has_paused_is_left_alone_unless_its_policy_says_otherwise() -> None:
    async def scene(cluster: Cluster) -> tuple[list[str], list[str]]:
        await add(cluster)
        await add(cluster, "db", on_pause=OnPause(user=OnTrouble.RESTART))
        await cluster.rest()
        cluster.hands.virsh_suspend("web")
        cluster.hands.virsh_suspend("db")
        await asyncio.sleep(60.0)
        return cluster.where("web"), boots(cluster, "db")

    web, db = in_cluster(scene)
    assert web == []
    assert len(db) == 2


def test_guest_that_its_watchdog_has_paused_is_recovered_unless_it_is_to_be_kept() -> None:
    async def scene(cluster: Cluster) -> tuple[list[str], list[str]]:
        await add(cluster)
        await add(cluster, "db", on_pause=OnPause(watchdog=OnTrouble.KEEP))
        await cluster.rest()
        for vm in ("web", "db"):
            guest = cluster.hands.find_guest(vm)
            assert guest
            stop_by(cluster.world.fabric, guest, "watchdog", Suspended.WATCHDOG)
        await asyncio.sleep(30.0)
        return boots(cluster), boots(cluster, "db")

    web, db = in_cluster(scene)
    assert (len(web), len(db)) == (2, 1)


def test_guest_that_is_to_be_kept_stands_as_its_disk_has_left_it() -> None:
    async def scene(cluster: Cluster) -> list[tuple[str, DomainState]]:
        await add(cluster, on_pause=OnPause(io_error=OnIoError.KEEP))
        await cluster.rest()
        (here,) = cluster.where("web")
        fail_disk(cluster.world.fabric, "web", here)
        await asyncio.sleep(600.0)
        return cluster.world.fabric.instances("web")

    assert [state for _, state in in_cluster(scene)] == [DomainState.PAUSED]


def test_hand_finds_a_guest_that_it_paused_on_its_way_where_it_came_from() -> None:
    async def scene(cluster: Cluster) -> tuple[bool, list[str], list[Violation]]:
        await add(cluster)
        await cluster.rest()
        await cluster.hands.migrate("web", "n3")
        await cluster.rest()
        cluster.world.fabric.set_migration_time("web", 5.0)
        await cluster.hands.migrate("web", "n1")
        await asyncio.sleep(1.0)
        assert len(cluster.world.fabric.instances("web")) == 2
        cluster.hands.virsh_suspend("web")
        found = cluster.hands.find_guest("web")
        await cluster.hands.cancel_migration("web")
        await asyncio.sleep(10.0)
        cluster.hands.virsh_resume("web")
        await cluster.rest()
        return found is not None and found.host.name == "n3", cluster.where("web"), cluster.violations()

    is_at_source, where, broken = in_cluster(scene)
    assert is_at_source
    assert len(where) == 1
    assert broken == []


def test_guest_whose_qemu_answers_nothing_is_told_of_and_left_alone() -> None:
    async def scene(cluster: Cluster) -> tuple[str, list[str], list[str]]:
        await add(cluster)
        await cluster.rest()
        (here,) = cluster.where("web")
        fabric_frozen.freeze(cluster.world.fabric, "web", here)
        await asyncio.sleep(600.0)
        said = why(cluster)
        warned = overview(cluster.observer.snapshot, cluster="sim", wall=0.0).warnings
        fabric_frozen.thaw(cluster.world.fabric, "web", here)
        await asyncio.sleep(15.0)
        assert len(boots(cluster)) == 1
        assert why(cluster) != said
        assert f"vm web on {here}: its QEMU answers nothing; it was stopped, or is stuck" in warned
        return said, journal(cluster, "guest-hung"), journal(cluster, "guest-answers")

    said, hung, answers = in_cluster(scene)
    assert said == "its QEMU answers nothing: it was stopped, or is stuck (on_pause.hung: keep)"
    assert (len(hung), len(answers)) == (1, 1)


def test_guest_whose_qemu_answers_nothing_is_ended_and_recovered_where_its_policy_says_so() -> None:
    async def scene(cluster: Cluster) -> tuple[list[str], str, list[str]]:
        policy = OnPause(hung=OnTrouble.RESTART, hung_restart_after_s=30.0)
        await add(cluster, on_pause=policy)
        await add(cluster, "db", on_pause=policy, no_kill=True)
        await cluster.rest()
        for vm in ("web", "db"):
            (here,) = cluster.where(vm)
            fabric_frozen.freeze(cluster.world.fabric, vm, here)
        await asyncio.sleep(20.0)
        assert len(boots(cluster)) == 1
        await asyncio.sleep(60.0)
        await cluster.rest()
        assert len(cluster.where("web")) == 1
        assert cluster.violations() == []
        return boots(cluster), journal(cluster, "stopped")[-1], boots(cluster, "db")

    started, told, kept = in_cluster(scene)
    assert len(started) == 2
    assert "its QEMU has answered nothing for 30 s" in told
    assert len(kept) == 1


def test_guest_that_answers_again_in_time_goes_on() -> None:
    async def scene(cluster: Cluster) -> list[str]:
        await add(cluster, on_pause=OnPause(hung=OnTrouble.RESTART, hung_restart_after_s=30.0))
        await cluster.rest()
        (here,) = cluster.where("web")
        for _ in range(3):
            fabric_frozen.freeze(cluster.world.fabric, "web", here)
            await asyncio.sleep(25.0)
            fabric_frozen.thaw(cluster.world.fabric, "web", here)
            await asyncio.sleep(25.0)
        return boots(cluster)

    assert len(in_cluster(scene)) == 1
