"""Draws, in one life of four, that full nodes are relieved. By dice of its own, so that the rest is drawn as ever."""

import random  # noqa: TID251 (the seed is part of the command line, as in ``draw``)

from vmha.model.settings import Rebalance
from vmha.sim.faults.schedule import Schedule


def with_rebalance(dice: random.Random, cluster: Schedule) -> Schedule:
    """The vms of a life take little of a host, so that the least difference must do."""
    if dice.random() < 0.75:
        return cluster
    hold_s = dice.choice((0.0, 0.0, 1.0))
    rules = Rebalance(enabled=True, threshold_percent=dice.choice((0, 2)), margin_percent=1, hold_s=hold_s)
    return cluster.model_copy(update={"rebalance": rules})
