"""What becomes of a host that a fence agent has switched off: in one life of four it is switched on again. By dice of
its own, so that the rest is drawn as ever."""

import random  # noqa: TID251 (the seed is part of the command line, as in ``draw``)

from vmha.model.settings import Afterwards
from vmha.sim.faults.schedule import Schedule


def with_afterwards(dice: random.Random, cluster: Schedule) -> Schedule:
    if not any(node.has_switch for node in cluster.nodes) or dice.random() < 0.75:
        return cluster
    return cluster.model_copy(update={"afterwards": Afterwards.POWER_ON})
