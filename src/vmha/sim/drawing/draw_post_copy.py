"""Draws who migrates by post-copy: some of those that libvirt switches by itself, most of them too busy to be copied
otherwise. By dice of its own, so that the rest is as ever.
"""

import random  # noqa: TID251 (the seed is part of the command line, as in ``draw``)

from vmha.model.vm import Handover, MigrationStyle
from vmha.sim.faults.schedule import Schedule, VmDrawn


def with_post_copy(dice: random.Random, cluster: Schedule) -> Schedule:
    return cluster.model_copy(update={"vms": tuple(_draw(dice, vm) for vm in cluster.vms)})


def _draw(dice: random.Random, vm: VmDrawn) -> VmDrawn:
    is_drawn, is_busy, migration_s = dice.random() < 0.8, dice.random() < 0.8, dice.choice((2.0, 6.0, 20.0))
    if vm.migration.handover is not Handover.LIBVIRT or not is_drawn:
        return vm
    how = {"style": MigrationStyle.POST_COPY, "post_copy_after_s": 1.0, "timeout_s": 60.0}
    return vm.model_copy(
        update={"migration": vm.migration.model_copy(update=how), "migration_s": migration_s, "is_busy": is_busy}
    )
