"""A full node is relieved on hosts, live, and then there is rest; by itself, and by an operator's word."""

import asyncio

from tests.sim.probes import answered, placement, put
from tests.support.worlds import Cluster, in_cluster
from vmha.model.records import Progress
from vmha.model.settings import Rebalance
from vmha.operator.rebalance import ask_for, find_shifts
from vmha.policy.rebalance import RULE
from vmha.sim.chaos import live
from vmha.sim.drawing.draw import Options, draw
from vmha.sim.quiet import silence_logs

NAMES = ("a", "b", "c", "d")
SEEDS = (14, 15, 17, 29)
NO_HOLD = Rebalance(enabled=True, threshold_percent=60, margin_percent=10, hold_s=0.0)


async def crowd(cluster: Cluster, rules: Rebalance) -> None:
    """Four vms of 3 of 16 GiB on n1; n2 and n3 are empty, and back from a drain."""
    config = (await cluster.hands.operator.read()).config
    await put(cluster, cluster.world.keys.config, config.model_copy(update={"rebalance": rules}))
    for node in ("n2", "n3"):
        await cluster.hands.drain(node)
    for name in NAMES:
        await cluster.hands.add(name, memory_mib=3072, vcpus=1, start=True)
    await cluster.rest()
    assert all(cluster.where(name) == ["n1"] for name in NAMES)
    for node in ("n2", "n3"):
        await cluster.hands.undrain(node)


def test_a_full_node_is_relieved_live_and_then_there_is_rest() -> None:
    async def scene(cluster: Cluster) -> None:
        await crowd(cluster, NO_HOLD)
        await asyncio.sleep(60.0)
        await cluster.rest()
        moved = [name for name in NAMES if cluster.where(name) != ["n1"]]
        assert len(moved) == 1  # then n1 is at 56 %, below the threshold
        there = placement(cluster, moved[0])
        assert there is not None
        assert there.epoch == 2  # one holder after the other: it was not started anew in between
        assert there.reason.rule == RULE
        assert there.reason.text == "n1 is 75 % full and n2 0 %; then 56 % and 19 %"
        assert cluster.violations() == []

    in_cluster(scene)


def test_an_operators_word_moves_as_many_as_are_to_move_and_no_more() -> None:
    async def scene(cluster: Cluster) -> None:
        await crowd(cluster, NO_HOLD.model_copy(update={"enabled": False, "threshold_percent": 40}))
        await asyncio.sleep(60.0)
        assert all(cluster.where(name) == ["n1"] for name in NAMES)  # not by itself
        shifts = find_shifts(await cluster.hands.operator.read(), wall=cluster.world.clock.wall())
        for request in await ask_for(cluster.hands.operator, shifts):
            assert (await answered(cluster, request.id, timeout_s=60.0)).progress is Progress.DONE
        await cluster.rest()
        assert sorted(cluster.where(name) for name in NAMES) == [["n1"], ["n1"], ["n2"], ["n3"]]
        assert find_shifts(await cluster.hands.operator.read(), wall=cluster.world.clock.wall()) == []
        assert cluster.violations() == []

    in_cluster(scene)


def test_random_lives_relieve_nodes_and_keep_the_invariants() -> None:
    silence_logs()
    options = Options(nodes=(3, 5), vms=(8, 8), steps=60)
    assert all(draw(seed, options).rebalance.enabled for seed in SEEDS)
    lives = [live(seed, options) for seed in SEEDS]
    assert [life.what_is_wrong() for life in lives if not life.is_good] == []
    assert any(" % full and " in line.text for life in lives for line in life.journal)
