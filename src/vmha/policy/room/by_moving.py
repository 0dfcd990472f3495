"""Whom to move where, for those that are to start and find no room.

* For whom: the more important first, of equals the smaller; for an exclusive one all others leave a node, for the vms
  of a service room is made for all of them together (room/for_services.py). Not for one that rests after a
  failed start, or that ends again and again.
* Whom: vms that run well and migrate live (room/numbers.py), of no higher priority than the one that waits.
* Where to: nodes that may take it by every rule. Of equally few moves those come first that send nobody where it likes
  less, by its failover domain or by soft rules.
* Whoever can start now does, at once; perhaps elsewhere than it would have, where it prefers that as much.
* First for one after the other (room/moving_aside.py). Where that leaves somebody out: among many vms for it from the
  gaps of all nodes (room/gathering.py), among few for all that wait at once (room/together.py).

Bounded: ``RIVALS_AT_MOST`` vms, as many nodes as are looked at, ``LOOKED_AT_MOST`` looks; from the gaps of all nodes
``LOOKED_AT_WIDELY`` more.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from vmha.model.ids import NodeName, VmName
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import take
from vmha.policy.placing.room_asked import WAITS, Asked, Made, Making
from vmha.policy.room.for_all import choose_as, untake, without_limits
from vmha.policy.room.for_services import Group, for_all_of_them, groups_of
from vmha.policy.room.moving_aside import Aside
from vmha.policy.room.numbers import Numbers
from vmha.policy.room.together import find_together
from vmha.policy.room.wide import Wide
from vmha.policy.state import transitions
from vmha.policy.state.census import Census, place_of
from vmha.policy.state.snapshot import VmView
from vmha.policy.state.steps import Change, PlacementStep

RIVALS_AT_MOST = 8
STARTS_AT_MOST = 200
LOOKED_AT_MOST, LOOKED_AT_IN_A_CROWD, LOOKED_AT_WIDELY = 20_000, 5_000, 50_000
"""A vm held against a node, in one plan: up to some tenths of a second. Among few vms it is to come to its end; among
many ``LOOKED_AT_WIDELY`` more for those that it leaves out, which are as quick.
"""
CROWD = 64
"""Vms that may move or start, from which on there are so many ways that one of the first is as good."""


def find_room(
    base: Field,
    asked: Mapping[VmName, Asked],
    first: Mapping[VmName, NodeName],
    resting_on: Callable[[NodeName], Iterable[VmView]],
    is_barred: Callable[[VmName], bool],
    astir: Mapping[VmName, VmView],
    meant: Mapping[VmName, NodeName | None] | None = None,
) -> Making:
    """``base``: what stands, with all that is done to others than ``asked``. ``first``: where of those start now.

    ``resting_on``: vms at rest on a node; ``astir``: all others, at least.
    """
    if not base.eligible:
        return Making()  # nobody can move anywhere, either
    there: dict[VmName, NodeName] = {}
    for name, node in first.items():
        take(node, asked[name].spec, base, starting=False)
        there[name] = node
    free = without_limits(base)
    late: list[Asked] = []
    for name, one in asked.items():
        if name not in first and len(late) < STARTS_AT_MOST:
            place = choose_as(one, free, prefer=(meant or {}).get(name)).node
            if place is None:
                late.append(one)
            else:
                take(place, one.spec, base, starting=False)  # it waits for its turn
                there[name] = place
    rests = {_name(one): rest_s for one in late if (rest_s := _may_not_ask_for_s(one, base)) > 0}
    may_ask = {_name(one) for one in late}.difference(rests)
    retry_in_s = min(rests.values(), default=None)
    groups = groups_of(late, may_ask, base)
    speakers = may_ask.difference(*(group.waiting[1:] for group in groups.values()))
    rivals = [one for one in late if _name(one) in speakers]
    if not rivals:
        return Making(retry_in_s=retry_in_s)
    numbers = Numbers(base, asked, there, resting_on, is_barred, astir, groups)
    found = _one_by_one(numbers, _in_order(rivals, groups, base), late)
    left = [one for one in rivals if one.spec.name not in found.rivals and not (found.meant or {}).get(_name(one))]
    yielding = [asked[name] for name in there if any(_comes_before(one, asked[name], base) for one in left)]
    yielding = [one for one in yielding if _name(one) not in base.ties.member_of and not _may_not_ask_for_s(one, base)]
    if yielding:
        for one in yielding:  # nobody takes the room that is made for a more important one, or was promised to it
            untake(there.pop(_name(one)), one.spec, base)
        numbers = Numbers(base, asked, there, resting_on, is_barred, astir, groups)
        rivals, late = [*rivals, *yielding], [*late, *yielding]
        found = _one_by_one(numbers, _in_order(rivals, groups, base), late)
    found = find_together(numbers, _in_order(rivals, groups, base), late, found) or found
    found = for_all_of_them(found, groups.values()) if groups else found
    retries = [one for one in (found.retry_in_s, retry_in_s) if one is not None]
    return replace(found, retry_in_s=min(retries, default=None))


def _name(one: Asked) -> VmName:
    return VmName(one.spec.name)


def _in_order(rivals: list[Asked], groups: Mapping[VmName, Group], ground: Field) -> list[Asked]:
    """Who comes before whom, then the smaller by what it takes more of: of all memory or of all vcpus."""
    rooms = [ground.room_of(node) for node in ground.eligible]
    memory, vcpus = sum(room.memory_mib for room in rooms), sum(room.vcpus for room in rooms)

    def rank(one: Asked) -> tuple[tuple[int, bool], float, str]:
        need = groups[_name(one)].need if _name(one) in groups else ground.size_of(one.spec)
        share = max(need.memory_mib / memory if memory else 0.0, need.vcpus / vcpus if vcpus else 0.0)
        return (_importance(one, ground), share, one.spec.name)

    return sorted(rivals, key=rank)[:RIVALS_AT_MOST]


def _comes_before(one: Asked, other: Asked, ground: Field) -> bool:
    return _importance(one, ground) < _importance(other, ground)


def _importance(one: Asked, ground: Field) -> tuple[int, bool]:
    placement = ground.snapshot.vms[_name(one)].placement
    return (-one.spec.priority, placement is None or placement.value.reason.rule != WAITS)


def _may_not_ask_for_s(one: Asked, ground: Field) -> float:
    """For so long nobody moves for it, though nothing but time changes; 0: it may ask."""
    view = ground.snapshot.vms[_name(one)]
    again_s = transitions.ends_again_for_s(view.placement.value if view.placement else None, ground.wall)
    return max(again_s, choose_as(one, ground).retry_in_s or 0.0)


def _one_by_one(numbers: Numbers, rivals: list[Asked], late: Iterable[Asked]) -> Making:
    aside = Aside(nodes=numbers.of(rivals), may_go=numbers.may_go, may_begin=numbers.may_begin)
    made: dict[VmName, Made] = {}
    moves: dict[VmName, tuple[NodeName, VmName]] = {}
    to: dict[VmName, NodeName | None] = dict(numbers.there)
    to |= {VmName(one.spec.name): None for one in late}
    wide: Wide | None = None
    is_used: set[NodeName] = set()
    is_crowd = sum(len(here) for here in aside.nodes.on) > CROWD
    at_first, looks = dict(to), LOOKED_AT_IN_A_CROWD if is_crowd else LOOKED_AT_MOST
    looks_wide = LOOKED_AT_WIDELY
    for number, one in enumerate(rivals):
        name, share = VmName(one.spec.name), looks // (len(rivals) - number)
        found = aside.room_for(numbers.piece(one.spec, runs=False), share)
        looks -= share - max(0, aside.looks)
        starts_now, delayed = found is not None and aside.starts_now, aside.delayed if found else []
        mine = {VmName(other): numbers.nodes[node] for other, node in (found or {}).items()}
        is_used |= {*mine.values(), *(numbers.home_of(other) for other in mine if other in numbers.views)}
        if found is None and is_crowd and not one.spec.exclusive:
            wide = wide or Wide(numbers, aside)
            share = looks_wide // (len(rivals) - number)
            mine = wide.room_for(one, share, without=is_used) or {}
            looks_wide -= share - wide.looks
        if not mine:
            continue
        node = mine.pop(name)
        leave = {other: target for other, target in mine.items() if other in numbers.views}
        to |= {other: target for other, target in mine.items() if other not in numbers.views}
        moves |= {other: (target, name) for other, target in leave.items()}
        if starts_now and not numbers.is_left_by_others(one.spec, node):
            to[name] = node
            continue
        for waits, at in [(name, node), *((VmName(late), mine[VmName(late)]) for late in delayed)]:
            made[waits] = Made(node=at, moves={**leave}, leaving=numbers.leaving_for(at, leave))
            to[waits] = None
    return Making(rivals=made, moves=moves, meant=to if made or to != at_first else None, retry_in_s=numbers.retry_in_s)


def count(step: PlacementStep, base: Field) -> None:
    """What a plan does to it takes its room."""
    view = base.snapshot.vms.get(step.vm)
    node = step.placement and (step.placement.target or step.placement.node)
    if view is None or view.spec is None or not node or step.change not in _TAKES_ROOM:
        return
    take(node, view.spec.value, base, starting=False)


_TAKES_ROOM = (Change.ASSIGN, Change.RECOVER, Change.MIGRATE)


class Resting:
    """Vms at rest by their nodes; sorted out only for nodes that are asked for."""

    def __init__(self, census: Census) -> None:
        self._crowds: dict[NodeName, list[Mapping[VmName, VmView]]] | None = None
        self._census = census

    def on(self, node: NodeName) -> Iterable[VmView]:
        if self._crowds is None:
            self._crowds = {}
            for place, crowd in self._census.crowds.items():
                if place.node is not None:
                    self._crowds.setdefault(place.node, []).append(crowd.vms)
            for vm in self._census.astir.values():
                if (at := place_of(vm)) is not None and at.node is not None:
                    self._crowds.setdefault(at.node, []).append({vm.name: vm})  # nobody is held to be at rest
        return [vm for vms in self._crowds.get(node, ()) for vm in vms.values()]
