"""Room for the vms of a service: they go together, so it is looked for room for all of them at once.

One speaks for those that wait: the most important that may ask, of equals the first in the order of the service.

* While none of them has a place, a node must have room for all that are to run, as when they are started
  (placing/services.py). So it is where the one that leads is to leave a drained node: the others follow it.
* Where one has a place, the others can go nowhere else. What is still to come there is reserved, so the node has less
  than nothing left: it has to be relieved, and what waits needs nothing more.

Room is made by moving vms of no service: what belongs together is not moved apart.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from vmha.model.ids import NodeName, VmName
from vmha.policy.placing.affinity import never_beside
from vmha.policy.placing.field import Field
from vmha.policy.placing.room_asked import Asked, Making
from vmha.policy.placing.services import is_led, wanted_members
from vmha.policy.state.reservation import NOTHING, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """``waiting``: those that find no node; the first speaks. ``all_of_it``: all that are to be on its node then.

    ``place``: the only node; None: any that has room for ``need``.
    """

    waiting: tuple[VmName, ...]
    all_of_it: frozenset[VmName]
    need: Size
    place: NodeName | None

    @property
    def speaker(self) -> VmName:
        return self.waiting[0]


def groups_of(late: Iterable[Asked], may_ask: Container[VmName], ground: Field) -> dict[VmName, Group]:
    """Of those that find no node, the members of services; by who speaks for them."""
    member_of = ground.ties.member_of
    by_service: dict[str, list[Asked]] = {}
    for one in late if member_of else ():
        if (service := member_of.get(VmName(one.spec.name))) is not None:
            by_service.setdefault(service.name, []).append(one)
    groups = (_group(waiting, may_ask, ground) for waiting in by_service.values())
    return {group.speaker: group for group in groups}


def _group(late: list[Asked], may_ask: Container[VmName], ground: Field) -> Group:
    service = ground.ties.member_of[VmName(late[0].spec.name)]

    def rank(one: Asked) -> tuple[bool, int, int]:
        return (one.spec.name not in may_ask, -one.spec.priority, service.members.index(one.spec.name))

    waiting = tuple(VmName(one.spec.name) for one in sorted(late, key=rank))
    led = is_led(waiting[0], ground)
    wanted = wanted_members(service, ground)
    return Group(
        waiting=waiting,
        all_of_it=frozenset(VmName(spec.name) for spec in wanted),
        need=sum(map(ground.size_of, wanted), NOTHING) if led is None else NOTHING,
        place=led[2] if led else None,
    )


def kept_apart_from(group: Group, ground: Field) -> set[VmName]:
    """Those that a hard rule keeps apart from any of them."""
    others = set[VmName]().union(*(never_beside(name, ground) for name in group.all_of_it))
    return others - group.all_of_it


def for_all_of_them(found: Making, groups: Iterable[Group]) -> Making:
    """What was found for who speaks for them is for all of them."""
    made, meant = dict(found.rivals), dict(found.meant) if found.meant is not None else None
    for group in groups:
        speaker, *others = group.waiting
        if speaker in made:
            # What is still to come to where it has a place is reserved there anyhow.
            made[speaker] = replace(made[speaker], need=group.need)
            made |= dict.fromkeys(others, replace(made[speaker], need=NOTHING))
        elif meant is not None and meant.get(speaker) is not None:
            for name in others:
                meant.pop(name, None)  # they follow it
    return replace(found, rivals=made, meant=meant)
