"""Wall clocks that are hours off, or are set while the cluster runs: dates are for people, and decide nothing."""

import asyncio

import pytest

from tests.sim.probes import SkewedClock, add_running, answered, leader_of, outcome, placement, runs_on, starts
from tests.support.worlds import Cluster, in_cluster
from vmha.model.records import Phase, Progress, Verb
from vmha.operator.client import OperatorClient
from vmha.operator.requests import submit

HOUR_S = 3600.0


def author(cluster: Cluster, ahead_s: float) -> OperatorClient:
    world = cluster.world
    clock = SkewedClock(world.clock, ahead_s)
    return OperatorClient(world.operator_store, world.keys, clock, author="ann", new_id=lambda: f"skewed{ahead_s:g}")


@pytest.mark.parametrize("ahead_s", [-48 * HOUR_S, -2 * HOUR_S, 2 * HOUR_S, 48 * HOUR_S])
def test_request_whose_author_has_another_time_of_day_is_carried_out_and_not_expired(ahead_s: float) -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        asked = await submit(author(cluster, ahead_s), Verb.RELOCATE, vm="web", node="n2")
        assert (await answered(cluster, asked.id, timeout_s=30.0)).progress is Progress.DONE
        assert "n2" in [fact.host for fact in starts(cluster, "web")]  # it may have gone home since
        await cluster.rest()
        assert outcome(cluster, asked.id) is not None  # whoever asked late can still read it

    in_cluster(scene)


@pytest.mark.parametrize("hours", [(5, -7, 0), (-30, 3, 50), (0, 24, -24)])
def test_wall_clocks_that_are_set_while_the_cluster_runs_fence_nobody_and_move_nothing(hours: tuple[int, ...]) -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        before = {node: view.session_id for node, view in cluster.observer.snapshot.nodes.items()}
        led_by = leader_of(cluster)
        asked = await submit(author(cluster, 0.0), Verb.RESTART, vm="web")
        await answered(cluster, asked.id, timeout_s=30.0)
        begun = len(starts(cluster, "web"))
        for again in (1.0, -2.0, 1.0):  # away, past it to the other side, and back
            for host, jump in zip(cluster.world.hosts.values(), hours, strict=True):
                host.clock.jump(again * jump * HOUR_S)
            await cluster.rest()
            assert cluster.where("web") == ["n1"]
        assert len(starts(cluster, "web")) == begun
        assert {node: view.session_id for node, view in cluster.observer.snapshot.nodes.items()} == before
        assert leader_of(cluster) == led_by
        assert not cluster.observer.snapshot.fenced
        assert outcome(cluster, asked.id) is not None
        assert cluster.violations() == []

    in_cluster(scene)


def test_proof_is_kept_when_the_leaders_wall_clock_is_set_ahead_by_weeks() -> None:
    """Without it, the session that was fenced would look like one that a restored store has forgotten."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        cluster.hands.host("n1").power_off()
        await runs_on(cluster, "web", "n2", timeout_s=30.0)
        await cluster.rest()
        fenced = set(cluster.observer.snapshot.fenced)
        assert fenced
        for host in cluster.world.hosts.values():
            host.clock.jump(30 * 24 * HOUR_S)
        await cluster.rest()
        assert set(cluster.observer.snapshot.fenced) == fenced

    in_cluster(scene)


@pytest.mark.parametrize("reboots", [False, True])
@pytest.mark.parametrize("hours", [-3, 30])
def test_guest_taken_out_by_hand_unseen_is_missed_by_no_clock_that_was_set(hours: int, reboots: bool) -> None:
    """The store is away meanwhile. That its host has booted since is no proof that nothing of it runs."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1",))
        cluster.world.etcd.stop()
        cluster.world.hosts["n1"].clock.jump(hours * HOUR_S)
        cluster.hands.virsh_migrate("web", "outside")
        await asyncio.sleep(30.0)
        if reboots:
            cluster.hands.host("n1").power_off()
            cluster.hands.host("n1").power_on()
        cluster.world.etcd.start()
        await cluster.rest()
        assert cluster.where("web") == ["outside"]
        held = placement(cluster, "web")
        assert held is not None
        assert held.phase is Phase.DEPARTED
        assert cluster.violations() == []

    in_cluster(scene)
