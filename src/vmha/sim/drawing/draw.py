"""Draws a life from a seed: first a cluster, then the steps, as data (``schedule``).

Faults come in storms, many in a second, with lulls between them: a cluster that is struck without pause recovers
nothing and migrates nothing, and what never runs can not run twice. The same seed and options give the same schedule.
"""

import itertools
import math
import random  # noqa: TID251 (the one place that draws: the seed is part of the command line)
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vmha.model.settings import PROFILES, Profile, Timing
from vmha.model.vm import (
    AfterShutdown,
    FailoverDomain,
    FailoverDomainMember,
    Handover,
    Migration,
    MigrationStyle,
    OnDuplicate,
    Recovery,
)
from vmha.sim.drawing.draw_fencing import with_afterwards
from vmha.sim.drawing.draw_health import with_health
from vmha.sim.drawing.draw_hung import with_hung
from vmha.sim.drawing.draw_moves import moves
from vmha.sim.drawing.draw_post_copy import with_post_copy
from vmha.sim.drawing.draw_rebalance import with_rebalance
from vmha.sim.drawing.draw_relations import with_relations
from vmha.sim.drawing.draw_room import with_limits, with_preempt, with_room
from vmha.sim.drawing.draw_rules import with_rules
from vmha.sim.drawing.draw_services import with_services
from vmha.sim.drawing.draw_shutdown import with_shutdown
from vmha.sim.faults.catalogue import Fault, Takes, selected
from vmha.sim.faults.schedule import NodeDrawn, Schedule, Step, VmDrawn

HASTY = Timing(beat_s=0.5, lease_ttl_s=1, hold_s=2.0, kill_lead_s=0.2, margin_s=1.5, watchdog_s=1, suspect_s=1.0)
"""As quick as the rules allow: most recoveries in a simulated minute."""

_TIMINGS = (HASTY, HASTY, HASTY, PROFILES[Profile.TUNED], PROFILES[Profile.DEFAULT])
_STORMS = ((0.005, 0.03), (0.01, 0.08), (0.02, 0.2))
"""The mean pause between two steps of a storm lies between these, in seconds, one line for each kind of life."""
_NODES_WEIGHTED = (30, 8, 4, 2, 1, 1, 1)
"""How often clusters of the smallest number of nodes and of each greater one are drawn: small ones are no less cruel,
and ten times cheaper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What lives are drawn from. ``nodes`` and ``vms``: at least, at most."""

    nodes: tuple[int, int] = (3, 3)
    vms: tuple[int, int] = (4, 4)
    steps: int = 40
    faults: str = ""
    """As ``--faults``; '' is every kind."""


def draw(seed: int, options: Options) -> Schedule:
    cluster = _draw_cluster(random.Random(f"cluster {seed}"), seed, options)
    cluster = with_relations(random.Random(f"relations {seed}"), cluster)
    cluster = with_health(random.Random(f"health {seed}"), cluster)
    cluster = with_post_copy(random.Random(f"post-copy {seed}"), cluster)
    cluster = with_hung(random.Random(f"hung {seed}"), cluster)
    cluster = with_services(random.Random(f"services {seed}"), cluster)
    cluster = with_rules(random.Random(f"rules {seed}"), cluster)
    cluster = with_rebalance(random.Random(f"rebalance {seed}"), cluster)
    cluster = with_room(random.Random(f"room {seed}"), cluster)
    cluster = with_limits(random.Random(f"limits {seed}"), cluster)
    cluster = with_preempt(random.Random(f"preempt {seed}"), cluster)
    cluster = with_shutdown(random.Random(f"shutdown {seed}"), cluster)
    cluster = with_afterwards(random.Random(f"afterwards {seed}"), cluster)
    steps = tuple(_draw_steps(random.Random(f"steps {seed}"), cluster, options))
    if steps:
        names = {fault.name for fault in selected(options.faults)}
        steps += tuple(moves(random.Random(f"moves {seed}"), cluster, steps[-1].at, names))
    return cluster.with_steps(steps)


# --- the cluster


def _draw_cluster(dice: random.Random, seed: int, options: Options) -> Schedule:
    low, high = options.nodes
    counts = range(low, high + 1)
    weights = [_NODES_WEIGHTED[min(at, len(_NODES_WEIGHTED) - 1)] for at in range(len(counts))]
    names = [f"n{number}" for number in range(1, dice.choices(counts, weights)[0] + 1)]
    extra = random.Random(f"definitions {seed}")  # dice of its own: what older dice draw stays as it was
    return Schedule(
        seed=seed,
        timing=dice.choice(_TIMINGS),
        nodes=tuple(_draw_node(dice, name) for name in names),
        domains=tuple(_draw_domain(dice, f"d{number}", names) for number in (1, 2)),
        vms=tuple(
            _draw_vm(dice, f"v{number}").model_copy(
                update={"saves": extra.random() < 0.4, "from_file": extra.random() < 0.3}
            )
            for number in range(1, dice.randint(*options.vms) + 1)
        ),
        peers=dice.random() < 0.5,
    )


def _draw_node(dice: random.Random, name: str) -> NodeDrawn:
    return NodeDrawn(
        name=name,
        has_watchdog=dice.random() < 0.6,
        has_switch=dice.random() < 0.5,
        drift=round(dice.choice((0.0, 0.0, dice.uniform(-0.02, 0.02))), 4),
    )


def _draw_domain(dice: random.Random, name: str, nodes: list[str]) -> FailoverDomain:
    members = dice.sample(nodes, dice.randint(1, len(nodes)))
    return FailoverDomain(
        name=name,
        ordered=dice.random() < 0.7,
        restricted=dice.random() < 0.3,
        nofailback=dice.random() < 0.3,
        members=tuple(FailoverDomainMember(node=node, priority=rank) for rank, node in enumerate(members, start=1)),
    )


def _draw_vm(dice: random.Random, name: str) -> VmDrawn:
    return VmDrawn(
        name=name,
        failover_domain=dice.choice((None, "d1", "d2")),
        recovery=dice.choice((Recovery.RESTART, Recovery.RESTART, Recovery.RELOCATE)),
        on_guest_shutdown=dice.choice(tuple(AfterShutdown)),
        on_duplicate=dice.choice(tuple(OnDuplicate)),
        stop_timeout_s=dice.choice((3.0, 10.0)),
        migration=Migration(
            style=dice.choice((MigrationStyle.LIVE, MigrationStyle.PAUSE)),
            handover=dice.choice((Handover.SAFE, Handover.SAFE, Handover.SAFE, Handover.LIBVIRT)),
        ),
        migration_s=dice.choice((0.3, 0.5, 2.0)),
    )


# --- the steps


def _draw_steps(dice: random.Random, cluster: Schedule, options: Options) -> Iterator[Step]:
    chosen = selected(options.faults)
    faults = [fault for fault in chosen if fault.weight] or list(chosen)
    variants = _variants(chosen)
    extra = {do: random.Random(f"{dice_of} {cluster.seed}") for do, (dice_of, _) in _VARIANTS.items()}
    temper = {fault.kind: dice.choice((0.3, 1.0, 1.0, 2.5)) for fault in faults}
    weights = [(fault.weight or 1.0) * (1.0 if fault.is_mild else temper[fault.kind]) for fault in faults]
    up_to = list(itertools.accumulate(weights))
    nodes = [node.name for node in cluster.nodes]
    fitting = {fault.name: [vm.name for vm in cluster.vms if fault.fits(vm)] for fault in faults}
    if not faults:
        return
    at = 0.0
    for pause in _pauses(dice, options.steps, cluster.timing):
        at += pause
        fault = dice.choices(faults, cum_weights=up_to)[0]
        step = _draw_step(dice, cluster, fault, at, nodes, fitting[fault.name])
        if others := variants.get(step.do):
            own = extra[step.do]
            other = own.choice((None, *others))
            if other is not None:
                for_s = step.for_s or _draw_duration(own, cluster, other)
                step = step.model_copy(update={"do": other.name, "for_s": for_s})
        yield step


_VARIANTS = {
    "switch-refuses": ("variants", ("switch-babbles", "switch-missing")),
    "qemu-dies": ("qemu-dies", ("qemu-freezes",)),
    "all-leases-vanish": ("elections", ("leases-extended",)),
}
"""Faults that come in several kinds, which strike as often as one: who refuses may do so in several ways. Each with
dice of its own, as above.
"""


def _variants(chosen: Sequence[Fault]) -> dict[str, tuple[Fault, ...]]:
    found = {do: tuple(fault for fault in chosen if fault.name in names) for do, (_, names) in _VARIANTS.items()}
    return {do: others for do, others in found.items() if others}


def _pauses(dice: random.Random, steps: int, timing: Timing) -> Iterator[float]:
    """Storms of a dozen to a hundred steps, then a lull in which a lost node is recovered, with a few steps in it."""
    low, high = dice.choice(_STORMS)
    left = steps
    while left > 0:
        mean = dice.uniform(low, high)
        storm = min(left, round(_log_uniform(dice, 15, 150)))
        for _ in range(storm):
            yield dice.expovariate(1 / mean)
        left -= storm
        lull_s = timing.dead_after_s * dice.uniform(0.4, 1.8)
        few = min(left, dice.randint(0, 3))
        for _ in range(few):
            yield lull_s / few
        left -= few
        if not few and left:
            yield lull_s
            left -= 1


def _draw_step(
    dice: random.Random, cluster: Schedule, fault: Fault, at: float, nodes: Sequence[str], vms: Sequence[str]
) -> Step:
    """``vms``: those that the fault fits."""
    takes = fault.takes
    return Step(
        at=round(at, 4),
        do=fault.name,
        node=dice.choice(nodes) if Takes.NODE in takes else "",
        vm=dice.choice(vms) if Takes.VM in takes and vms else "",
        to=dice.choice(nodes) if Takes.TO in takes else "",
        for_s=_draw_duration(dice, cluster, fault),
        number=_draw_number(dice, fault),
    )


def _draw_duration(dice: random.Random, cluster: Schedule, fault: Fault) -> float:
    if fault.for_s is None:
        return 0.0
    scale = cluster.timing.dead_after_s / PROFILES[Profile.TUNED].dead_after_s
    return round(_log_uniform(dice, *fault.for_s) * (scale if fault.scales else 1.0), 3)


def _draw_number(dice: random.Random, fault: Fault) -> float:
    if fault.number is None:
        return 0.0
    drawn = _log_uniform(dice, *fault.number)
    return float(round(drawn)) if fault.counts else round(drawn, 4)


def _log_uniform(dice: random.Random, low: float, high: float) -> float:
    return math.exp(dice.uniform(math.log(low), math.log(high)))
