"""etcd restored from a backup while guests run: none runs twice, none is ended, and what runs is on record again."""

import asyncio
import random  # noqa: TID251 (seeded)
from typing import Any

import pytest

from tests.sim.probes import add_running, placement, raw, restart_agent, runs_on, starts
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.errors import VmhaError
from vmha.model.ids import NodeName
from vmha.model.keys import decode
from vmha.model.records import HistoryRecord, Phase
from vmha.operator.overview import overview
from vmha.store.memory import Backup

OUTAGE_S = 1.0
NODES = ("n1", "n2", "n3")


def history(cluster: Cluster) -> HistoryRecord | None:
    value = raw(cluster, cluster.world.keys.history)
    return decode(HistoryRecord, value, where="history") if value else None


async def restore(cluster: Cluster, backup: Backup, *, outage_s: float = OUTAGE_S) -> None:
    cluster.world.etcd.stop()
    await asyncio.sleep(outage_s)
    cluster.world.restore(backup)
    cluster.world.etcd.start()


async def settled(cluster: Cluster, *, timeout_s: float = 60.0) -> None:
    def is_settled() -> bool:
        record = history(cluster)
        return record is not None and record.settled

    await until(is_settled, what="the restored store is settled", timeout_s=timeout_s)


def ran_twice(cluster: Cluster) -> list[object]:
    """Of the laws, the one about the hosts: epochs and claims of the lost time are not in the store any more."""
    return [violation for violation in cluster.violations() if violation.law == "never-two"]


def ends(cluster: Cluster, vm: str) -> int:
    return sum(1 for fact in cluster.world.fabric.history if fact.vm == vm and fact.deed == "ends")


async def is_held_where_it_runs(cluster: Cluster, vm: str) -> None:
    def so() -> bool:
        held = placement(cluster, vm)
        return held is not None and held.phase is Phase.HELD and [held.node] == cluster.where(vm)

    await until(so, what=f"{vm} is held where it runs", timeout_s=30.0)


def test_vm_that_has_moved_since_the_backup_runs_on_and_is_adopted_where_it_is() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        backup = cluster.world.etcd.back_up()
        await cluster.hands.migrate("web", "n2")
        await runs_on(cluster, "web", "n2", timeout_s=10.0)
        await cluster.rest()
        await restore(cluster, backup)
        await settled(cluster)
        await is_held_where_it_runs(cluster, "web")
        assert cluster.where("web") == ["n2"]
        assert ends(cluster, "web") == 1  # the source's, when it was migrated
        assert ran_twice(cluster) == []

    in_cluster(scene)


async def begin_a_session_after_the_backup(cluster: Cluster) -> Any:
    """n1's, and web runs in it again. Returns the backup."""
    await add_running(cluster, "web")
    backup = cluster.world.etcd.back_up()
    host = cluster.hands.host("n1")
    host.power_off()
    await runs_on(cluster, "web", "n2", timeout_s=20.0)
    host.power_on()
    await runs_on(cluster, "web", "n1", timeout_s=20.0)
    await cluster.rest()
    return backup


@pytest.mark.parametrize("agents_restart", [False, True])
def test_session_that_the_backup_does_not_know_goes_on_with_its_guests(agents_restart: bool) -> None:
    """Its guard counts it and nobody has ended it: also an agent that remembers nothing finds out."""

    async def scene(cluster: Cluster) -> None:
        backup = await begin_a_session_after_the_backup(cluster)
        ended = ends(cluster, "web")
        cluster.world.etcd.stop()
        await asyncio.sleep(OUTAGE_S)
        if agents_restart:
            for name in NODES:
                restart_agent(cluster, name)
        cluster.world.restore(backup)
        cluster.world.etcd.start()
        await settled(cluster)
        await is_held_where_it_runs(cluster, "web")
        assert cluster.where("web") == ["n1"]
        assert ends(cluster, "web") == ended
        assert ran_twice(cluster) == []

    in_cluster(scene)


@pytest.mark.parametrize("slow_s", [0.001, 0.1, 0.4])
def test_session_that_the_backup_does_not_know_outlives_what_it_has_to_say_of_its_guests_meanwhile(
    slow_s: float,
) -> None:
    """Its inventory comes to the restored store before its beat does, and finds no session there: that ends none."""

    async def scene(cluster: Cluster) -> None:
        backup = await begin_a_session_after_the_backup(cluster)
        ended = ends(cluster, "web")
        cluster.world.etcd.slow("n1", slow_s)
        cluster.world.etcd.stop()
        await asyncio.sleep(OUTAGE_S)
        cluster.hands.virsh_suspend("web")
        cluster.world.restore(backup)
        cluster.world.etcd.start()
        await settled(cluster)
        cluster.hands.virsh_resume("web")
        await is_held_where_it_runs(cluster, "web")
        assert cluster.where("web") == ["n1"]
        assert ends(cluster, "web") == ended
        assert ran_twice(cluster) == []

    in_cluster(scene)


def test_vm_that_nobody_held_in_the_backup_is_not_started_beside_the_one_that_runs_cut_off() -> None:
    """Its node can not say that it runs there: nobody starts it before that node has ended it."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        await cluster.hands.stop("web")
        await until(lambda: cluster.where("web") == [], what="it is stopped", timeout_s=30.0)
        await cluster.rest()
        await cluster.hands.start("web")
        backup = cluster.world.etcd.back_up()
        await runs_on(cluster, "web", "n1", timeout_s=20.0)
        await cluster.rest()
        cluster.world.etcd.stop()
        cluster.hands.host("n1").cut()
        await asyncio.sleep(OUTAGE_S)
        cluster.world.restore(backup)
        cluster.world.etcd.start()
        await until(
            lambda: cluster.where("web") in (["n2"], ["n3"]), what="web runs on one that is there", timeout_s=60.0
        )
        assert ran_twice(cluster) == []

    in_cluster(scene)


async def just_after_a_beat(cluster: Cluster, node: str) -> None:
    """So that this node sees the restored placements before its next beat can find out."""
    key = cluster.world.keys.beat(NodeName(node))
    last = raw(cluster, key)
    await until(lambda: raw(cluster, key) != last, what=f"a beat of {node}")


def test_backup_made_while_a_vm_was_assigned_lets_its_node_start_no_second_one() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        cluster.hands.host("n1").power_off()
        cluster.world.etcd.lag("n2", 0.5)  # it claims some time after it was assigned, so that a backup fits in between

        def is_assigned() -> bool:
            held = placement(cluster, "web")
            return held is not None and held.phase is Phase.ASSIGNED

        await until(is_assigned, what="it is assigned", timeout_s=20.0)
        backup = cluster.world.etcd.back_up()
        cluster.world.etcd.lag("n2", 0.0)
        held = placement(cluster, "web")
        assert held
        await runs_on(cluster, "web", "n2", timeout_s=20.0)
        cluster.hands.host("n1").power_on()
        await runs_on(cluster, "web", "n1", timeout_s=20.0)
        await cluster.rest()
        began = len(starts(cluster, "web"))
        await just_after_a_beat(cluster, "n2")
        await restore(cluster, backup, outage_s=0.0)
        await settled(cluster)
        await is_held_where_it_runs(cluster, "web")
        assert len(starts(cluster, "web")) == began
        assert ran_twice(cluster) == []

    in_cluster(scene)


def test_status_says_so_until_it_is_settled_and_the_journal_keeps_it() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        backup = cluster.world.etcd.back_up()
        await asyncio.sleep(5.0)
        await restore(cluster, backup)
        await until(lambda: history(cluster) is not None, what="somebody finds out")
        shown = overview(await cluster.hands.operator.read(), cluster="sim", wall=0.0)
        assert any("restored from a backup" in warning for warning in shown.warnings), shown.warnings
        await settled(cluster)
        shown = overview(await cluster.hands.operator.read(), cluster="sim", wall=0.0)
        assert not any("restored from a backup" in warning for warning in shown.warnings)
        kinds = {entry.kind for entry in (await cluster.hands.operator.journal())[0]}
        assert {"store-went-back", "history-settled"} <= kinds

    in_cluster(scene)


@pytest.mark.parametrize("seed", range(12))
def test_random_lives_with_a_restore_in_them(seed: int) -> None:
    """Whatever was done since the backup, and whatever goes on while it is restored."""

    async def scene(cluster: Cluster) -> None:
        draw = random.Random(seed)
        vms = ("v1", "v2", "v3")
        for vm in vms:
            await cluster.hands.add(vm, memory_mib=256, vcpus=1, start=True)
        await cluster.rest()
        await life(cluster, draw, vms, steps=draw.randint(0, 4))
        backup = cluster.world.etcd.back_up()
        await life(cluster, draw, vms, steps=draw.randint(1, 8))
        cluster.world.etcd.stop()
        await asyncio.sleep(draw.uniform(0.1, 5.0))
        for name in NODES:
            if draw.random() < 0.3:
                restart_agent(cluster, name)
            if draw.random() < 0.2:
                cluster.hands.host(name).cut()
        cluster.world.restore(backup)
        cluster.world.etcd.start()
        await life(cluster, draw, vms, steps=draw.randint(0, 4))
        await asyncio.sleep(draw.uniform(0.0, 20.0))
        for name in NODES:
            cluster.hands.host(name).heal()
            cluster.hands.host(name).power_on()
        for vm in vms:
            await until(lambda vm=vm: len(cluster.where(vm)) == 1, what=f"{vm} runs", timeout_s=120.0)
            await is_held_where_it_runs(cluster, vm)
        assert ran_twice(cluster) == []

    in_cluster(scene)


async def life(cluster: Cluster, draw: random.Random, vms: tuple[str, ...], *, steps: int) -> None:
    for _ in range(steps):
        host = cluster.hands.host(draw.choice(NODES))
        try:
            match draw.choice(("migrate", "restart", "crash", "power", "agent", "libvirtd", "relocate")):
                case "migrate":
                    await cluster.hands.migrate(draw.choice(vms), draw.choice(NODES))
                case "relocate":
                    await cluster.hands.relocate(draw.choice(vms), None)
                case "restart":
                    await cluster.hands.restart(draw.choice(vms))
                case "crash":
                    cluster.hands.crash(draw.choice(vms))
                case "power" if host.has_power:
                    host.power_off()
                case "power":
                    host.power_on()
                case "agent" if host.has_power:
                    restart_agent(cluster, host.name)
                case _:
                    pass
        except VmhaError:
            pass  # refused: it does not run, or its target is gone
        await asyncio.sleep(draw.choice((0.0, 0.3, 2.0, 9.0)))


def test_node_whose_journal_has_a_lease_that_the_backup_does_not_know_is_heard_of_all_the_same() -> None:
    """It has to tell of an outage that no guest noticed; and without it nothing would ever be settled."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        backup = cluster.world.etcd.back_up()
        await cluster.hands.migrate("web", "n2")  # the first that n2 has to tell
        await runs_on(cluster, "web", "n2", timeout_s=10.0)
        await cluster.rest()
        await restore(cluster, backup, outage_s=8.0)
        await settled(cluster)
        await is_held_where_it_runs(cluster, "web")
        assert cluster.where("web") == ["n2"]
        assert ends(cluster, "web") == 1  # the source's, when it was migrated
        assert ran_twice(cluster) == []

    in_cluster(scene, peers=True)
