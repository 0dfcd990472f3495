"""Services: their members run on one node, start in order, end in reverse, and a move of one is a move of all.

One member leads: of those that have a place, the one that was last moved by a hand or by an operator (by
``failback_after``), else the first in order. Where it is, is where the service is:

* a member that has no place yet goes there and nowhere else; while none has a place, a node must have room for all;
* one that a hand has taken out of the restricted failover domain does not lead while another one is in it, or is to
  start: that one could not go there;
* the leading one moves by the ordinary rules (drain, failback, a request), to a node that has room for all of them;
* the others follow it, live, one after another, and move by no rule of their own (follow.py). One that a hand or
  a request has moved leads from then on, so that the others follow it, too;
* one whose migrations have failed ``TRIED_AT_MOST`` times leads, if its node may keep it: the others come back to it.

What is lost is recovered by the same rules, each member with the proof that it needs; the first one that is placed says
where. A member that can not follow runs on where it is, and says what keeps it.
"""

from collections.abc import Iterator

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, Placement
from vmha.model.service import Service
from vmha.model.vm import Desired, Recovery, VmSpec
from vmha.policy.placing.field import Field
from vmha.policy.state.reservation import NOTHING, Size
from vmha.policy.state.snapshot import VmView

TRIED_AT_MOST = 3


def leading(service: Service, ground: Field) -> tuple[VmName, NodeName] | None:
    """Who leads, and where; None: no member has a place. Worked out once, and again when this plan gives a place."""
    places = ground.ties.places
    if service.name not in places:
        places[service.name] = _find_leading(service, ground)
    return places[service.name]


def _find_leading(service: Service, ground: Field) -> tuple[VmName, NodeName] | None:
    best: tuple[bool, int, int, VmName, NodeName] | None = None
    legal = _legal_nodes(service, ground)
    placed: list[tuple[VmName, Placement]] = []
    is_one_to_start = False
    for index, member in enumerate(service.members):
        vm = ground.snapshot.vms.get(VmName(member))
        placement = vm.placement.value if vm and vm.spec and vm.placement else None
        node = _place_of(placement, ground) if placement else None
        if placement is None or node is None:
            is_one_to_start |= bool(vm and vm.spec and vm.spec.value.desired is Desired.RUNNING)
            continue
        placed.append((VmName(member), placement))
        rank = (legal is None or node in legal, placement.failback_after, -index)
        if best is None or rank > best[:3]:
            best = (*rank, VmName(member), node)
    if best is None or (is_one_to_start and not best[0]):
        return None
    return next((found for found in _stuck(best[3:], placed, ground)), best[3:])


def _legal_nodes(service: Service, ground: Field) -> set[str] | None:
    """None: every node."""
    domain = ground.snapshot.domains.get(service.failover_domain) if service.failover_domain else None
    return {member.node for member in domain.members} if domain is not None and domain.restricted else None


def _stuck(
    best: tuple[VmName, NodeName], placed: list[tuple[VmName, Placement]], ground: Field
) -> list[tuple[VmName, NodeName]]:
    """Those that have tried to follow the one that would lead, again and again, and are well where they are."""
    name, place = best
    led_since = next(placement.since for member, placement in placed if member == name)
    return [
        (member, placement.node)
        for member, placement in placed
        if placement.phase is Phase.HELD
        and placement.node not in (None, place)
        and placement.node in ground.eligible
        and sum(f.moving and f.node == place and f.at >= led_since for f in placement.failures) >= TRIED_AT_MOST
        and placement.node is not None
    ]


def _place_of(placement: Placement, ground: Field) -> NodeName | None:
    """Where it is or is on its way to, unless that is over."""
    if placement.node is None or placement.phase in (Phase.STOPPED, Phase.DEPARTED):
        return None
    view = ground.snapshot.nodes.get(placement.node)
    if placement.phase is Phase.ASSIGNED:
        return placement.node if view is not None and ground.verdicts[placement.node].is_alive else None
    return (placement.target or placement.node) if view and view.session_id == placement.session else None


def is_led(name: str, ground: Field) -> tuple[Service, VmName, NodeName] | None:
    """The service, who leads it and where, when that is another one than ``name``."""
    service = ground.ties.member_of.get(VmName(name))
    if service is None or name in ground.ties.free:
        return None
    found = leading(service, ground)
    return (service, *found) if found and found[0] != name else None


def sent_away(name: VmName, ground: Field) -> tuple[VmName, NodeName] | None:
    """Who leads it, and where this plan sends that one from a place that it has on record.

    Steps are written one by one: a start that counts on a move which is not on record yet would be apart from the
    others for good if that move did not come about.
    """
    if (led := is_led(name, ground)) is None:
        return None
    _, leader, place = led
    placement = ground.snapshot.vms[leader].placement
    on_record = _place_of(placement.value, ground) if placement else None
    return None if on_record in (None, place) else (leader, place)


def relocates(spec: VmSpec, ground: Field) -> bool:
    """Whether another node is tried first after a crash. A member's own word counts where it is to be disabled."""
    service = ground.ties.member_of.get(VmName(spec.name))
    own = spec.recovery
    if service is not None and own in (Recovery.RESTART, Recovery.RELOCATE):
        own = service.recovery
    return own is Recovery.RELOCATE


def apart(node: NodeName, spec: VmSpec, ground: Field) -> str:
    """Why a member can not go to ``node``: the others are elsewhere, or there is no room for all. '' when it can."""
    service = ground.ties.member_of.get(VmName(spec.name))
    if service is None:
        return ""
    if led := is_led(spec.name, ground):
        return "" if led[2] == node else f"is not where the other vms of service {service.name} are ({led[2]})"
    needed = sum(map(ground.size_of, _not_there(service, node, ground)), NOTHING)
    whose = f"the vms of service {service.name} need"
    kept = reserved(node, spec, ground) + ground.ties.withheld.get(node, NOTHING)  # for others
    return ground.room_of(node).refusal(needed, ground.loads[node].taken + kept, whose)


def followers(node: NodeName, spec: VmSpec, ground: Field) -> list[VmSpec]:
    """Members that are to go to ``node`` after ``spec``, if that goes there."""
    service = ground.ties.member_of.get(VmName(spec.name))
    if service is None or is_led(spec.name, ground):
        return []
    return [member for member in _not_there(service, node, ground) if member.name != spec.name]


def wanted_members(service: Service, ground: Field) -> list[VmSpec]:
    """Members that are to run, in their order."""
    views = (ground.snapshot.vms.get(VmName(member)) for member in service.members)
    specs = (view.spec.value for view in views if view is not None and view.spec is not None)
    return [spec for spec in specs if spec.desired is Desired.RUNNING]


def _not_there(service: Service, node: NodeName, ground: Field) -> list[VmSpec]:
    """Members that are to run, and do not count on ``node`` yet."""
    found = []
    for spec in wanted_members(service, ground):
        name = VmName(spec.name)
        stored = ground.snapshot.vms[name].placement
        is_there = stored is not None and node in (stored.value.node, stored.value.target)
        if not is_there and ground.ties.given.get(name) != node:
            found.append(spec)
    return found


def reserved(node: NodeName, spec: VmSpec | None, ground: Field) -> Size:
    """What ``node`` keeps for members that are still to come there, but for ``spec``'s service's own."""
    ties = ground.ties
    if ties.kept is None:
        ties.kept = {}
        for service in ties.services:
            _keep_room(service, ground)
    mine = ties.member_of.get(VmName(spec.name)) if spec is not None else None
    kept = ties.kept.get(node, {})
    return sum((need for name, need in kept.items() if mine is None or name != mine.name), NOTHING)


def _keep_room(service: Service, ground: Field) -> None:
    assert ground.ties.kept is not None
    for of_node in ground.ties.kept.values():
        of_node.pop(service.name, None)
    if (found := leading(service, ground)) is not None:
        needed = sum(_that_may_come(service, found[1], ground), NOTHING)
        if needed != NOTHING:
            ground.ties.kept.setdefault(found[1], {})[service.name] = needed


def _that_may_come(service: Service, node: NodeName, ground: Field) -> Iterator[Size]:
    """Of its members, what is still to come to ``node``.

    One that runs elsewhere comes only if it fits: room that is too small for it is kept for nobody, or who could use it
    would stay down for what runs.
    """
    room, taken = ground.room_of(node), ground.loads[node].taken
    for member in _not_there(service, node, ground):
        need = ground.size_of(member)
        if _runs_elsewhere(VmName(member.name), ground) and room.refusal(need, taken):
            continue
        taken += need
        yield need


def _runs_elsewhere(name: VmName, ground: Field) -> bool:
    stored = ground.snapshot.vms[name].placement
    held = stored.value if stored else None
    node = ground.snapshot.nodes.get(held.node) if held and held.node else None
    return held is not None and held.phase is Phase.HELD and node is not None and node.session_id == held.session


def took_a_place(name: str, node: NodeName, ground: Field) -> None:
    """This plan sends it there: so the others of its service go there as well."""
    service = ground.ties.member_of.get(VmName(name))
    if service is None:
        return
    if is_led(name, ground) is None:
        ground.ties.places[service.name] = (VmName(name), node)
    ground.ties.given[VmName(name)] = node
    if ground.ties.kept is not None:
        _keep_room(service, ground)


def ends_before(vm: VmView, ground: Field) -> list[VmName]:
    """Members behind it that are to be stopped as well: they end first."""
    service = ground.ties.member_of.get(vm.name)
    if service is None or vm.name not in service.members:
        return []
    behind = service.members[service.members.index(vm.name) + 1 :]
    return [VmName(name) for name in behind if _is_to_be_stopped(ground.snapshot.vms.get(VmName(name)))]


def _is_to_be_stopped(vm: VmView | None) -> bool:
    return vm is not None and vm.spec is not None and vm.spec.value.desired in (Desired.STOPPED, Desired.DISABLED)
