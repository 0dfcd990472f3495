"""Draws what is done about a vm whose QEMU answers nothing, and how it is asked to shut down. By dice of its own, so
that the rest is as ever.
"""

import random  # noqa: TID251 (the seed is part of the command line, as in ``draw``)

from vmha.model.standing import OnPause, OnTrouble
from vmha.model.vm import ShutdownBy
from vmha.sim.faults.schedule import Schedule, VmDrawn

RESTART_AFTER_S = 0.5


def with_hung(dice: random.Random, cluster: Schedule) -> Schedule:
    return cluster.model_copy(update={"vms": tuple(_draw(dice, vm) for vm in cluster.vms)})


def _draw(dice: random.Random, vm: VmDrawn) -> VmDrawn:
    hung = dice.choice(tuple(OnTrouble))
    return vm.model_copy(
        update={
            "on_pause": OnPause(hung=hung, hung_restart_after_s=RESTART_AFTER_S),
            "shutdown_by": dice.choice(tuple(ShutdownBy)),
        }
    )
