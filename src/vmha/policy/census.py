"""All vms, sorted into those at rest and those astir, so that a plan costs what is astir and not what there is.

A vm is *at rest* when by its own records nothing is to be done about it: it runs where it should, and nothing ties it
to others, or it is down and is to be. Vms at rest that share node, session and failover domain form a *crowd*: what may
still concern one of them (its node leaves, its home is back) concerns all of them, and is asked once for the crowd.

A census is a function of the vms alone. ``after`` makes the next one out of the last by what has changed; that it is
the one that ``take`` would make is a property test (tests/unit/policy/test_census.py), as that a plan decides the same
whether anybody is held to be at rest or not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from vmha.model.ids import NodeName, SessionId, VmName
from vmha.model.records import Observation, Phase, Placement, SeenState
from vmha.model.vm import Desired, VmSpec
from vmha.policy.reservation import NOTHING, Size, size_of
from vmha.policy.snapshot import VmView
from vmha.policy.transitions import latest_date

_DOWN = (Desired.STOPPED, Desired.DISABLED)


class Place(NamedTuple):
    """What a crowd has in common. ``node`` None: they are down."""

    node: NodeName | None = None
    session: SessionId | None = None
    domain: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """``size``: what they take in all. ``latest``: the latest date in their placements."""

    vms: Mapping[VmName, VmView]
    size: Size
    latest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """Nobody changes one: the next shares with it what is the same."""

    vms: Mapping[VmName, VmView] = field(default_factory=dict)
    crowds: Mapping[Place, Crowd] = field(default_factory=dict)
    astir: Mapping[VmName, VmView] = field(default_factory=dict)

    def after(self, vms: Mapping[VmName, VmView]) -> "Census":
        """Of ``vms``, made of this one by the difference. Records that are the same objects are not looked at."""
        before = self.vms
        if vms is before:
            return self
        changed = [name for name, vm in vms.items() if before.get(name) is not vm]
        if len(vms) != len(before) or any(name not in before for name in changed):
            changed += [name for name in before if name not in vms]
        if not changed:
            return Census(vms=vms, crowds=self.crowds, astir=self.astir)
        astir = dict(self.astir)
        moved: dict[Place, dict[VmName, VmView]] = {}

        def crowd(place: Place) -> dict[VmName, VmView]:
            if place not in moved:
                known = self.crowds.get(place)
                moved[place] = dict(known.vms) if known else {}
            return moved[place]

        for name in changed:
            if name in astir:
                del astir[name]
            elif name in before and (left := place_of(before[name])) is not None:
                del crowd(left)[name]
            if (now := vms.get(name)) is None:
                continue
            if (place := place_of(now)) is None:
                astir[name] = now
            else:
                crowd(place)[name] = now
        crowds = {place: found for place, found in self.crowds.items() if place not in moved}
        crowds |= {place: _crowd(found) for place, found in moved.items() if found}
        return Census(vms=vms, crowds=crowds, astir=astir)


def take(vms: Mapping[VmName, VmView]) -> Census:
    return Census().after(vms)


def nobody_rests(vms: Mapping[VmName, VmView]) -> Census:
    """Every vm is looked at."""
    return Census(vms=vms, astir=vms)


def place_of(vm: VmView) -> Place | None:
    """Where it is at rest. None: it is astir."""
    if vm.spec is None or vm.freeze is not None:
        return None
    spec, placement = vm.spec.value, vm.placement.value if vm.placement else None
    if spec.depends_on or spec.exclusive:
        return None  # what it needs comes before it in a plan, whether it is to run or not
    if spec.desired in _DOWN:
        is_down = placement is None or placement.phase is Phase.STOPPED
        return Place() if is_down and not vm.seen else None
    if spec.desired is not Desired.RUNNING or placement is None or not _is_well(placement, vm.seen):
        return None
    return Place(placement.node, placement.session, spec.failover_domain)


def _is_well(placement: Placement, seen: Mapping[NodeName, Observation]) -> bool:
    """Held, and seen running by its holder and by nobody else; and nothing is being done to it."""
    if placement.phase is not Phase.HELD or placement.node is None or len(seen) != 1:
        return False
    if placement.leaving or (placement.deed is not None and placement.deed.is_pending):
        return False
    here = seen.get(placement.node)
    return (
        here is not None
        and here.state is SeenState.RUNNING
        and not here.second
        and here.session == placement.session
        and placement.session is not None
    )


def _crowd(vms: Mapping[VmName, VmView]) -> Crowd:
    return Crowd(vms=vms, size=_size_of(vms.values()), latest=max(map(_latest, vms.values())))


def _size_of(vms: Iterable[VmView]) -> Size:
    memory_mib = vcpus = 0
    for vm in vms:
        need = _need_of(vm)
        memory_mib += need.memory_mib
        vcpus += need.vcpus
    return Size(memory_mib, vcpus)


def _need_of(vm: VmView) -> Size:
    if vm.spec is None or vm.placement is None:
        return NOTHING
    spec: VmSpec = vm.spec.value
    return size_of(spec, vm.placement.value)


def _latest(vm: VmView) -> float:
    return latest_date(vm.placement.value) if vm.placement else float("-inf")
