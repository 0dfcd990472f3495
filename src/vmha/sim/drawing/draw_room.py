"""Draws, in one life of six, vms that take much of a host, so that some fit only where others make room. In those, how
much of a host is for vms, and migrations that last; and in half of them some vms are more important than others, and
may have them stopped (``preempt``). By dice of their own, so that the rest is drawn as ever."""

import random  # noqa: TID251 (the seed is part of the command line, as in ``draw``)

from vmha.model.settings import Capacity
from vmha.sim.faults.schedule import Schedule

SIZES_MIB = (8192, 16384, 24576, 24576, 49152)
"""Of the 64 GiB of a host."""
_LIMITS = (
    Capacity(),
    Capacity(reserve_mib=16384),
    Capacity(reserve_mib=40960, memory_overcommit=2.0),  # 48 GiB
    Capacity(vcpu_overcommit=0.375),  # three of a host's eight, and each vm has one
)
_PRIORITIES = (50, 100, 100, 200)


def with_room(dice: random.Random, cluster: Schedule) -> Schedule:
    if dice.random() < 5 / 6 or cluster.rebalance.enabled or any(vm.exclusive for vm in cluster.vms):
        return cluster
    vms = tuple(vm.model_copy(update={"memory_mib": dice.choice(SIZES_MIB)}) for vm in cluster.vms)
    return cluster.model_copy(update={"vms": vms})


def with_limits(dice: random.Random, cluster: Schedule) -> Schedule:
    """A vm that is long on its way takes its room at both ends while others look for some."""
    if not is_tight(cluster):
        return cluster
    vms = tuple(vm.model_copy(update={"migration_s": dice.choice((vm.migration_s, 5.0))}) for vm in cluster.vms)
    return cluster.model_copy(update={"capacity": dice.choice(_LIMITS), "vms": vms})


def with_preempt(dice: random.Random, cluster: Schedule) -> Schedule:
    if not is_tight(cluster) or dice.random() < 0.5:
        return cluster
    vms = tuple(vm.model_copy(update={"priority": dice.choice(_PRIORITIES)}) for vm in cluster.vms)
    return cluster.model_copy(update={"preempt": True, "vms": vms})


def is_tight(cluster: Schedule) -> bool:
    return any(vm.memory_mib for vm in cluster.vms)
