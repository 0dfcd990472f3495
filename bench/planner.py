"""How long one plan takes for a large cluster: one node lost, its vms to be placed; everything at rest; a cold start.

The plan is the policy's pure function on records in memory: no etcd, no hypervisor. The snapshot is built anew for each
sample, because a plan must not live on what the one before it worked out. But for ``.after-one``: a planner that has
planned before, and one vm of which a record has changed since. Seconds are of the processor: nothing is waited for.
Python searches for garbage as it does in an agent's process (node/garbage.py).
"""

from dataclasses import replace
from time import process_time

from bench.measure import Run, Target, progress
from bench.world import WALL, snapshot_of
from vmha.model.clock import SystemClock
from vmha.model.settings import ClusterConfig
from vmha.node.garbage import sparing_the_long_lived
from vmha.policy.plan import plan
from vmha.policy.planner import Planner
from vmha.policy.state.snapshot import Moment
from vmha.policy.state.steps import Change, PlacementStep

SIZES = {(1000, 32): 0.1, (10_000, 500): 1.0}
AFTER_ONE = Target(at_most=0.01)
LOST = 3
"""The number of the node that is lost."""


def names() -> list[str]:
    return [f"planner.{vms}x{nodes}{kind}" for vms, nodes in SIZES for kind in ("", ".at-rest", ".after-one", ".cold")]


def planner(run: Run) -> None:
    for (vms, nodes), at_most_s in SIZES.items():
        _measure(run, vms, nodes, at_most_s)


def _measure(run: Run, vms: int, nodes: int, at_most_s: float) -> None:
    name, size = f"planner.{vms}x{nodes}", f"{vms:,} vms x {nodes} nodes"
    if run.wants([name]):
        samples = run.repeat(lambda: plan_s(vms, nodes, lost=LOST, expected=len(range(LOST, vms, nodes))))
        run.add(name, f"full plan, {size}, one node lost", samples, target=Target(at_most=at_most_s))
    if run.wants([f"{name}.at-rest"]):
        samples = run.repeat(lambda: plan_s(vms, nodes, expected=0))
        run.add(f"{name}.at-rest", f"full plan, {size}, nothing to do", samples)
    if run.wants([f"{name}.cold"]):
        starts = min(vms, ClusterConfig().limits.starts_per_node * nodes)
        samples = [plan_s(vms, nodes, placed=False, expected=starts) for _ in range(run.samples)]
        run.add(f"{name}.cold", f"full plan, {size}, nothing placed yet", samples, target=Target(at_most=1.0))
    if run.wants([f"{name}.after-one"]):
        samples = _plan_after_one_change_s(vms, nodes, run.samples)
        run.add(f"{name}.after-one", f"next plan, {size}, one record has changed", samples, target=AFTER_ONE)


def _plan_after_one_change_s(vms: int, nodes: int, times: int) -> list[float]:
    """Seconds, of one planner that goes on."""
    snapshot, moment, planner = snapshot_of(vms, nodes), Moment(now=1000.0, wall=WALL), Planner()
    planner.plan(snapshot, moment)
    samples = []
    with sparing_the_long_lived(SystemClock()):
        for name in list(snapshot.vms)[:times]:
            snapshot = replace(snapshot, vms={**snapshot.vms, name: replace(snapshot.vms[name])})
            began_s = process_time()
            planner.plan(snapshot, moment)
            samples.append(process_time() - began_s)
    return samples


def plan_s(vms: int, nodes: int, *, expected: int, lost: int | None = None, placed: bool = True) -> float:
    """Seconds. ``expected``: how many vms such a plan must give to a node; another number is told."""
    snapshot = snapshot_of(vms, nodes, lost=lost, placed=placed)
    moment = Moment(now=1000.0, wall=WALL)
    with sparing_the_long_lived(SystemClock()):
        began_s = process_time()
        made = plan(snapshot, moment)
        took_s = process_time() - began_s
    given = sum(isinstance(s, PlacementStep) and s.change in (Change.ASSIGN, Change.RECOVER) for s in made.steps)
    if given != expected:
        progress(f"planner: {given} vms were given to a node, {expected} were expected: the measure proves nothing")
    return took_s
