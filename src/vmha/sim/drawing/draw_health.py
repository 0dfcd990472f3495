"""Draws how the health of vms is asked for, in one life of three. By dice of its own, so that the rest is as ever."""

import random  # noqa: TID251 (the seed is part of the command line, as in ``draw``)

from vmha.model.health import Probe
from vmha.sim.faults.schedule import Schedule


def with_health(dice: random.Random, cluster: Schedule) -> Schedule:
    if dice.random() < 2 / 3:
        return cluster
    vms = tuple(vm.model_copy(update={"probes": _draw_probes(dice)}) for vm in cluster.vms)
    return cluster.model_copy(update={"vms": vms})


def _draw_probes(dice: random.Random) -> tuple[Probe, ...]:
    """Asked often enough to strike within a lull."""
    if dice.random() < 0.3:
        return ()
    return (
        Probe(
            tcp="guest:1",
            interval_s=1.0,
            timeout_s=dice.choice((0.3, 1.0)),
            start_timeout_s=5.0,
            failures=2,
            start_gate=dice.random() < 0.5,
        ),
    )
