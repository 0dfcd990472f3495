"""Large clusters that are tight and uneven: 1,000 vms on 32 nodes, one of which is lost, and hardly room for its vms;
and 10,000 on 500.

No solver has an answer of that size. So the planner stands beside a **lower bound**, which no placement whatever gets
below: of vms left out by the sum of what is free (the smallest vms first, as if all of it were in one piece); of moves,
where nobody is left out, by gaps: a vm that is larger than the largest one takes several, and each move joins no more
than two; of the fullest node by the mean, and where what runs stays by the fullest one as it is. Only memory
counts, as for Ganeti's programs, which are asked about the smaller clusters: about the others they take minutes.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from random import Random  # noqa: TID251 (not a decision: what is decided upon)

from bench.ganeti import HAIL, balanced, fullest, hailed_each
from bench.instances import Instance, Node, Vm
from bench.measure import Run, progress
from bench.small_world import planned

UNEVEN = "placement.uneven"
TIGHT, SNUG, ROOMY = 0.003, 0.02, 0.3
CLUSTERS = {
    "tight": (1000, 32, TIGHT),
    "roomy": (1000, 32, ROOMY),
    "large-tight": (10_000, 500, TIGHT),
    "large-snug": (10_000, 500, SNUG),
    "large-roomy": (10_000, 500, ROOMY),
}
NODES_FOR_PROGRAMS = 32

NODE_GIB, VM_GIB = (128, 192, 256, 384), (1, 2, 4, 6, 8, 12, 16)
PLENTY = 4096
SEED = 1


@dataclass(frozen=True, slots=True)
class Bound:
    """At least so many vms are left out; and moved, if none is left out."""

    left_out: int
    moves: int


def drawn(vms: int, nodes: int, *, spare: float, seed: int = SEED) -> Instance:
    """``spare``: what the nodes that are left have free beyond what the vms of the lost one take, as a part of all."""
    random = Random(seed)
    everywhere = frozenset(range(nodes))
    sizes = [random.choice(VM_GIB) for _ in range(vms)]
    weights = [random.choice(NODE_GIB) for _ in range(nodes)]
    lost = 0
    homes: list[int] = []
    taken = [0] * nodes
    for size in sizes:
        at = min(random.sample(range(nodes), 4), key=lambda node: taken[node] / weights[node])
        homes.append(at)
        taken[at] += size
    free = taken[lost] + spare * sum(sizes)
    share = [random.random() for _ in range(nodes - 1)]
    rooms = [taken[lost], *(taken[at + 1] + round(free * part / sum(share)) for at, part in enumerate(share))]
    placed = tuple(Vm(size, 1, everywhere, home) for size, home in zip(sizes, homes, strict=True))
    return Instance(nodes=tuple(Node(max(1, gib), PLENTY) for gib in rooms), vms=placed, lost=lost)


def bound(cluster: Instance) -> Bound:
    free = [node.gib for node in cluster.nodes]
    free[cluster.lost or 0] = 0
    down = []
    for number, vm in enumerate(cluster.vms):
        if cluster.stands(number):
            free[vm.home or 0] -= vm.gib
        else:
            down.append(vm.gib)
    left, whole = len(down), sum(free)
    for gib in sorted(down):
        if gib > whole:
            break
        whole -= gib
        left -= 1
    return Bound(left, _moves(down, free))


def _moves(down: list[int], free: list[int]) -> int:
    """Whoever moves joins two nodes. Where some nodes are joined so, directly or by others, their gaps together take
    the vms that are put there, by no fewer moves than nodes but one. So each vm costs a move for every gap that it
    takes beyond one, were all gaps as large as the largest; and all together cost no fewer than the gaps they take,
    the largest first, beyond one for each.
    """
    largest, needed, gaps = max(free), sum(down), 0
    for gib in sorted(free, reverse=True):
        if needed <= 0:
            break
        needed -= gib
        gaps += 1
    return max(sum(ceil(gib / largest) - 1 for gib in down) if largest else 0, gaps - len(down), 0)


def uneven(run: Run) -> None:
    hbal = shutil.which("hbal", path="/usr/bin:/usr/sbin")
    for kind, (vms, size, spare) in CLUSTERS.items():
        cluster = drawn(vms, size, spare=spare)
        least, name = bound(cluster), f"{UNEVEN}.{kind}"
        progress(f"{name}: {vms:,} vms x {size} nodes, planned, and a lower bound")
        run.add(f"{name}.bound.left-out", "vms left out, at least", [least.left_out], unit="vms")
        run.add(f"{name}.bound.moves", "vms moved that run, if none is left out, at least", [least.moves], unit="moves")
        standing = tuple(vm.home if cluster.stands(at) else None for at, vm in enumerate(cluster.vms))
        what = "memory share of the fullest node over the cluster's, if what runs stays, at least"
        run.add(f"{name}.bound.balance", what, [max(1.0, fullest(standing, cluster))], unit="x")
        with tempfile.TemporaryDirectory() as folder:
            for who, do in _programs(cluster, hbal, Path(folder)).items():
                nodes, moves = do()
                left_out = sum(node is None for node in nodes)
                run.add(f"{name}.{who}.left-out", f"vms left out, {who}", [left_out], unit="vms")
                run.add(f"{name}.{who}.moves", "vms moved that run", [moves], unit="moves")
                what = "memory share of the fullest node over the cluster's"
                run.add(f"{name}.{who}.balance", what, [fullest(nodes, cluster)], unit="x")


Answer = tuple[tuple[int | None, ...], int]


def _programs(cluster: Instance, hbal: str | None, room: Path) -> dict[str, Callable[[], Answer]]:
    def ours(may_move: bool) -> Answer:
        made = planned(cluster, may_move=may_move)
        return made.nodes, made.moves

    def hail() -> Answer:
        done = hailed_each(cluster, room)
        return done.nodes, done.moves

    def evacuate() -> Answer:
        assert hbal
        done = balanced(cluster, hbal, room, "--evac-mode")
        return done.nodes, done.moves

    found: dict[str, Callable[[], Answer]] = {"stay": lambda: ours(False), "move": lambda: ours(True)}
    if hbal and Path(HAIL).exists() and len(cluster.nodes) <= NODES_FOR_PROGRAMS:
        found |= {"hail": hail, "evacuate": evacuate}
    return found
