"""The lower bound of large clusters, held against the optimum of small ones."""

import pytest
from bench.ganeti import plain
from bench.instances import draw
from bench.optimum import optimum
from bench.small_world import planned
from bench.uneven import SNUG, TIGHT, bound, drawn


def test_no_optimum_gets_below_the_bound() -> None:
    clusters = [plain(draw(seed, cold=False)) for seed in range(2400)]
    bounds = [(one, least) for one in clusters if (least := bound(one)).moves]
    for cluster, least in [one for one in bounds if one[1].left_out][:15]:
        assert len(cluster.vms) - optimum(cluster, may_move=True, balance=False).placed >= least.left_out
    found = [(optimum(one, may_move=True, balance=False), one, least) for one, least in bounds if not least.left_out]
    whole = [(best.moves, least.moves) for best, one, least in found if best.placed == len(one.vms)]
    assert len(whole) > 6
    assert all(moves >= least for moves, least in whole)
    assert sum(moves == least for moves, least in whole) > len(whole) // 2  # it is no empty word


@pytest.mark.parametrize(("vms", "nodes", "spare", "seed"), [(1000, 32, TIGHT, 1), (1500, 75, SNUG, 1)])
def test_nobody_is_left_out_of_an_uneven_cluster_that_the_bound_lets_in(
    vms: int, nodes: int, spare: float, seed: int
) -> None:
    cluster = drawn(vms, nodes, spare=spare, seed=seed)
    least, made = bound(cluster), planned(cluster)
    assert least.left_out == 0
    assert least.moves > 0
    assert None not in made.nodes
    assert made.moves <= 3 * least.moves


def test_a_drawn_cluster_is_tight_uneven_and_the_same_each_time() -> None:
    cluster = drawn(100, 8, spare=0.02)
    assert cluster == drawn(100, 8, spare=0.02)
    free = [node.gib - sum(vm.gib for vm in cluster.vms if vm.home == at) for at, node in enumerate(cluster.nodes)]
    down = sum(vm.gib for vm in cluster.vms if vm.home == cluster.lost)
    assert all(gib >= 0 for gib in free)
    assert down <= sum(free) <= 1.5 * down
    assert len({node.gib for node in cluster.nodes}) > 4
