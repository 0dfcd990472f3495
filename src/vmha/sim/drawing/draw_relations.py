"""Draws what vms are to each other in one life of three. By dice of its own, so that the rest is drawn as ever."""

import random  # noqa: TID251 (the seed is part of the command line, as in ``draw``)
import re
from collections.abc import Sequence

from vmha.model.relations import Dependency, Need
from vmha.sim.drawing.draw_room import is_tight
from vmha.sim.faults.schedule import Schedule, VmDrawn
from vmha.sim.judge.invariants import Blocked

_NO_ROOM = re.compile(r" (MiB|vcpus) free of ")


def with_relations(dice: random.Random, cluster: Schedule) -> Schedule:
    if dice.random() < 2 / 3:
        return cluster
    vms = [_draw(dice, vm, cluster.vms[:at]) for at, vm in enumerate(cluster.vms)]
    if dice.random() < 0.5:
        for rank in range(1, dice.choice((2, 3, 3))):
            at = dice.randrange(len(vms))
            vms[at] = vms[at].model_copy(update={"exclusive": rank})
    return cluster.model_copy(update={"vms": tuple(vms)})


def _draw(dice: random.Random, vm: VmDrawn, before: tuple[VmDrawn, ...]) -> VmDrawn:
    """It needs only vms that were drawn before it, so that there is no circle."""
    needs = tuple(
        Dependency(vm=other.name, mode=dice.choice(tuple(Need)), start_delay_s=dice.choice((0.0, 0.0, 3.0)))
        for other in before
        if dice.random() < 0.25
    )
    return vm.model_copy(update={"depends_on": needs, "autostart": dice.random() < 0.85})


def owed(blocked: Sequence[Blocked], schedule: Schedule) -> tuple[Blocked, ...]:
    """Those that ought to run all the same. That each says why it does not is not enough: it must be true.

    Where a vm wants its node for itself, a hard rule forbids nodes, or vms are large, there need not be room for all.
    What needs a vm that is stopped, or that is one of ``blocked`` itself, waits for it.
    """
    has_exclusive = any(vm.exclusive for vm in schedule.vms)
    hard = {rule.name for rule in schedule.rules if rule.hard}
    names = {one.vm for one in blocked}
    owing = [one for one in blocked if not _is_excused(one, names, hard, has_exclusive=has_exclusive)]
    return tuple(one for one in owing if not (is_tight(schedule) and _NO_ROOM.search(one.reason)))


def _is_excused(one: Blocked, names: set[str], hard: set[str], *, has_exclusive: bool) -> bool:
    if has_exclusive and "exclusive" in one.reason:
        return True
    if hard.intersection(re.findall(r"which rule (\S+) ", one.reason)):
        return True
    waits = re.findall(r"(\S+), which it needs, is (stopped|disabled|not ready)", one.reason)
    return any(state != "not ready" or vm in names for vm, state in waits)
