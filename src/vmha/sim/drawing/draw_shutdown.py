"""Draws what becomes of the vms of a host that is shut down. By dice of its own, so that the rest is drawn as ever."""

import random  # noqa: TID251 (the seed is part of the command line, as in ``draw``)

from vmha.model.settings import AtShutdown
from vmha.sim.faults.schedule import Schedule

_POLICIES = (AtShutdown.MIGRATE, AtShutdown.FREEZE, AtShutdown.FREEZE, AtShutdown.FAILOVER)


def with_shutdown(dice: random.Random, cluster: Schedule) -> Schedule:
    return cluster.model_copy(update={"at_shutdown": dice.choice(_POLICIES)})
