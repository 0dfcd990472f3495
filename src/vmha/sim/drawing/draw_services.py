"""Draws a service in one life of four. By dice of its own, so that the rest is drawn as ever."""

import random  # noqa: TID251 (the seed is part of the command line, as in ``draw``)

from vmha.model.service import Service
from vmha.model.vm import Recovery
from vmha.sim.faults.schedule import Schedule

NAME = "together"


def with_services(dice: random.Random, cluster: Schedule) -> Schedule:
    """In the order in which the vms were drawn, so that their needs close no circle; none that wants to be alone."""
    names = [vm.name for vm in cluster.vms if not vm.exclusive]
    if dice.random() < 3 / 4 or len(names) < 2:
        return cluster
    members = sorted(dice.sample(names, dice.choice((2, min(3, len(names))))), key=names.index)
    fields = {
        "name": NAME,
        "members": tuple(members),
        "failover_domain": dice.choice((None, *(domain.name for domain in cluster.domains))),
        "recovery": dice.choice((Recovery.RESTART, Recovery.RELOCATE)),
    }
    return cluster.model_copy(update={"services": (Service.model_validate(fields),)})
