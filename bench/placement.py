"""How good the planner's placements are: against the optimum of small random clusters (bench/optimum.py).

``left-out``: instances in which the optimum places a vm that the planner leaves out; ``stay``: where the optimum too
must leave what runs where it is, ``move``: where it may migrate it. There the optimum is what migrations one after
another come to (bench/reach.py): ``out-of-reach`` counts those in which the solver places more, or by fewer moves.
"""

from dataclasses import replace
from statistics import mean

from bench.ganeti import LARGE, ganeti
from bench.instances import Instance, draw
from bench.measure import Run, Target, progress
from bench.optimum import Best, optimum
from bench.pacemaker import PACEMAKER, pacemaker
from bench.reach import reachable
from bench.small_world import Made, planned
from bench.uneven import UNEVEN, uneven

INSTANCES = 2000
"""Half of them of each kind."""
BALANCED = 40
"""Of each kind, for so many the solver also looks for the best balance: that takes it a hundred times as long."""
LOST, COLD = "placement.lost", "placement.cold"
NONE = Target(at_most=0)


def names() -> list[str]:
    return [COLD, LOST, *PACEMAKER, LARGE, UNEVEN]


def placement(run: Run) -> None:
    if run.wants([COLD]):
        _against_optimum(run, COLD, [draw(seed, cold=True) for seed in range(INSTANCES // 2)])
    if run.wants([LOST]):
        _against_optimum(run, LOST, [draw(seed, cold=False) for seed in range(INSTANCES // 2)])
    if run.wants(PACEMAKER):
        pacemaker(run)
    if run.wants([LARGE]):
        ganeti(run)
    if run.wants([UNEVEN]):
        uneven(run)


def _against_optimum(run: Run, name: str, instances: list[Instance]) -> None:
    progress(f"{name}: {len(instances)} small clusters, each planned and solved")
    for kind in ("stay",) if name == COLD else ("stay", "move"):
        made = [planned(instance, may_move=kind == "move") for instance in instances]
        best = [
            optimum(instance, may_move=kind == "move", balance=number < BALANCED)
            for number, instance in enumerate(instances)
        ]
        if kind == "move":
            best = _corrected(run, f"{name}.{kind}", instances, made, best)
        pairs = list(zip(instances, made, best, strict=True))
        missing = [there.placed - here.placed for _, here, there in pairs]
        if min(missing) < 0:
            progress(f"{name}: the planner placed more than the optimum: one of the two is wrong")
        of = f"of {len(instances)}, the optimum places more vms ({kind})"
        run.add(f"{name}.{kind}.left-out", of, [sum(n > 0 for n in missing)], unit="instances", target=NONE)
        run.add(f"{name}.{kind}.vms", f"vms left out, of {sum(b.placed for b in best)}", [sum(missing)], unit="vms")
        run.add(f"{name}.{kind}.moves", "moves of the optimum", [sum(b.moves for b in best)], unit="moves")
        moves = sum(here.moves for instance, here, _ in pairs)
        run.add(f"{name}.{kind}.moved", "moves of the planner", [moves], unit="moves", baseline=f"{name}.{kind}.moves")
        if kind == "move":
            alike = [pair for pair in pairs if pair[1].placed == pair[2].placed]
            of, least = f"where both place the same number ({len(alike)})", f"{name}.alike.moves"
            run.add(least, f"moves of the optimum, {of}", [sum(best.moves for *_, best in alike)], unit="moves")
            moved = sum(here.moves for instance, here, _ in alike)
            run.add(f"{name}.alike.moved", f"moves of the planner, {of}", [moved], unit="moves", baseline=least)
        _balance(run, f"{name}.{kind}", [pair for pair in pairs if pair[1].placed == len(pair[0].vms)])


def _corrected(run: Run, name: str, instances: list[Instance], made: list[Made], solved: list[Best]) -> list[Best]:
    """Where the planner is not as good as the solver, what can be reached; if that is too much to try, the solver's."""
    found, beyond, unknown = list(solved), 0, 0
    for number, (here, there) in enumerate(zip(made, solved, strict=True)):
        if (here.placed, here.moves) == (there.placed, there.moves):
            continue
        if (best := reachable(instances[number])) is None:
            unknown += 1
            continue
        beyond += (best.placed, best.moves) != (there.placed, there.moves)
        found[number] = replace(best, fullest=None)
    run.add(f"{name}.out-of-reach", "the solver's optimum, by migrations one after another", [beyond], unit="instances")
    run.add(f"{name}.not-searched", "too many ways to try them all", [unknown], unit="instances")
    return found


def _balance(run: Run, name: str, pairs: list[tuple[Instance, Made, Best]]) -> None:
    """Where all vms run: the fullest node's memory share over the cluster's, of both."""
    theirs, ours = [], []
    for instance, here, there in pairs:
        if there.fullest is None:
            continue
        room = sum(node.gib for number, node in enumerate(instance.nodes) if number != instance.lost)
        share = sum(vm.gib for vm in instance.vms) / room
        theirs.append(there.fullest / share)
        ours.append(here.fullest(instance) / share)
    if not theirs:
        return
    what = f"memory share of the fullest node over the cluster's, {len(theirs)} clusters"
    run.add(f"{name}.best-balance", f"{what}, optimum", [mean(theirs)], unit="x")
    run.add(f"{name}.balance", f"{what}, planner", [mean(ours)], unit="x", baseline=f"{name}.best-balance")
