"""The journal tells when the loss of a node would come to cost vms, and when no longer; not what lasts an instant."""

import asyncio

from tests.sim.probes import add_running
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.hooks import EVENTS
from vmha.model.keys import decode
from vmha.model.records import JournalEntry
from vmha.policy.telling.survival_news import COSTS, STANDS_S, SURVIVED

LONG_S = 5 * STANDS_S


def told(cluster: Cluster) -> list[tuple[str, str]]:
    world = cluster.world
    entries = [decode(JournalEntry, kv.value, where=kv.key) for kv in world.etcd.list(world.keys.journal("")).items]
    return [(entry.kind, entry.text) for entry in entries if entry.kind in (COSTS, SURVIVED)]


def is_on_record(cluster: Cluster) -> bool:
    return cluster.world.etcd.get(cluster.world.keys.survival) is not None


async def leave_one_node(cluster: Cluster) -> None:
    for node in ("n2", "n3"):
        await cluster.hands.drain(node)
    await cluster.rest()


def test_cluster_that_starts_and_survives_any_loss_has_nothing_to_tell() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1", "n2", "n3"))
        await asyncio.sleep(LONG_S)
        assert told(cluster) == []
        assert not is_on_record(cluster)

    in_cluster(scene)


def test_loss_that_would_cost_a_vm_is_told_once_whoever_leads_and_so_is_its_end() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1", "n2", "n3"))
        await leave_one_node(cluster)
        await until(lambda: is_on_record(cluster), what="it is told", timeout_s=LONG_S)
        ((kind, text),) = told(cluster)
        assert kind == COSTS
        assert text.startswith("would not survive the loss of n1: web would not come back")
        leader = cluster.observer.snapshot.leader
        assert leader
        host = cluster.hands.host(leader.value.node)
        if leader.value.node == "n1":
            host.kill_agent()
            await asyncio.sleep(1.0)
            host.start_agent()
        else:
            host.power_off()
        await asyncio.sleep(LONG_S)
        assert len(told(cluster)) == 1
        for node in ("n2", "n3"):
            cluster.hands.host(node).power_on()
            await cluster.hands.undrain(node)
        await until(lambda: not is_on_record(cluster), what="its end is told", timeout_s=LONG_S)
        assert told(cluster)[1:] == [(SURVIVED, "survives the loss of any one node")]
        await asyncio.sleep(LONG_S)
        assert len(told(cluster)) == 2

    in_cluster(scene)


def test_answer_that_lasts_an_instant_is_not_told() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1", "n2", "n3"))
        await asyncio.sleep(STANDS_S)
        for _ in range(3):
            await leave_one_node(cluster)
            for node in ("n2", "n3"):
                await cluster.hands.undrain(node)
            await asyncio.sleep(1.5 * STANDS_S)
        await asyncio.sleep(LONG_S)
        assert told(cluster) == []

    in_cluster(scene)


def test_both_kinds_are_events_that_a_hook_may_ask_for() -> None:
    assert {EVENTS[COSTS], EVENTS[SURVIVED]} == {"node-loss-costs-vms", "node-loss-survived"}
