"""The lower bound of large clusters, held against the optimum of small ones."""

from bench.ganeti import plain
from bench.instances import draw
from bench.optimum import optimum
from bench.uneven import bound, drawn


def test_no_optimum_gets_below_the_bound() -> None:
    clusters = [cluster for seed in range(800) if bound(cluster := plain(draw(seed, cold=False))).moves]
    assert len(clusters) >= 20
    is_met = 0
    for cluster in clusters[:30]:
        least, best = bound(cluster), optimum(cluster, may_move=True, balance=False)
        left_out = len(cluster.vms) - best.placed
        assert left_out >= least.left_out
        assert left_out + best.moves >= least.moves
        is_met += left_out + best.moves == least.moves
    assert is_met > len(clusters[:30]) // 2  # it is no empty word


def test_a_drawn_cluster_is_tight_uneven_and_the_same_each_time() -> None:
    cluster = drawn(100, 8, spare=0.02)
    assert cluster == drawn(100, 8, spare=0.02)
    free = [node.gib - sum(vm.gib for vm in cluster.vms if vm.home == at) for at, node in enumerate(cluster.nodes)]
    down = sum(vm.gib for vm in cluster.vms if vm.home == cluster.lost)
    assert all(gib >= 0 for gib in free)
    assert down <= sum(free) <= 1.5 * down
    assert len({node.gib for node in cluster.nodes}) > 4
