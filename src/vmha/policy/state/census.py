"""All vms, sorted into those at rest and those astir, so that a plan costs what is astir and not what there is.

A vm is *at rest* when by its own records nothing is to be done about it: it runs where it should, and nothing ties it
to others, or it is down and is to be. Vms at rest that share node, session and failover domain form a *crowd*: what may
still concern one of them (its node leaves, its home is back) concerns all of them, and is asked once for the crowd.

A census is a function of the vms alone. ``after`` makes the next one out of the last by what has changed; that it is
the one that ``take`` would make is a property test (tests/unit/policy/test_census.py), as that a plan decides the same
whether anybody is held to be at rest or not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import compress
from operator import is_, is_not
from typing import NamedTuple

from vmha.model.ids import NodeName, SessionId, VmName
from vmha.model.records import Phase, Placement, SeenState
from vmha.model.vm import Desired
from vmha.policy.state.reservation import Size, size_of
from vmha.policy.state.snapshot import VmView
from vmha.policy.state.transitions import latest_date

_DOWN = (Desired.STOPPED, Desired.DISABLED)
_WANTED, _HELD, _RUNNING = Desired.RUNNING, Phase.HELD, SeenState.RUNNING
"""Asked of each vm: to look a member up in its class takes as long as to compare it with three others."""


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
        if len(vms) == len(before) and all(map(is_, vms, before)):  # mostly: the same names in the same order
            changed = list(compress(vms, map(is_not, vms.values(), before.values())))
        else:
            changed = [name for name, vm in vms.items() if before.get(name) is not vm]
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
    """As ``Census().after(vms)``, in half the time: each vm is looked at once."""
    astir: dict[VmName, VmView] = {}
    found: dict[_Place, _Gathering] = {}
    for name, vm in vms.items():
        if (place := _place_of(vm)) is None:
            astir[name] = vm
            continue
        if (there := found.get(place)) is None:
            found[place] = there = _Gathering()
        there.add(name, vm)
    return Census(vms=vms, crowds={Place(*place): there.crowd() for place, there in found.items()}, astir=astir)


def nobody_rests(vms: Mapping[VmName, VmView]) -> Census:
    """Every vm is looked at."""
    return Census(vms=vms, astir=vms)


def place_of(vm: VmView) -> Place | None:
    """Where it is at rest. None: it is astir."""
    place = _place_of(vm)
    return None if place is None else Place(*place)


_Place = tuple[NodeName | None, SessionId | None, str | None]
"""As ``Place``, and equal to it: whoever asks for each of all vms makes a tuple faster."""
_DOWN_AT_REST: _Place = (None, None, None)


def _place_of(vm: VmView) -> _Place | None:
    """What most vms are asked comes first: a plan of a new leader asks all of them."""
    stored, placed, seen = vm.spec, vm.placement, vm.seen
    if stored is None or vm.freeze is not None:
        return None
    spec = stored.value
    if spec.depends_on or spec.exclusive:
        return None  # what it needs comes before it in a plan, whether it is to run or not
    if spec.desired is not _WANTED:
        is_down = spec.desired in _DOWN and (placed is None or _rests(placed.value)) and not seen
        return _DOWN_AT_REST if is_down else None
    if placed is None:
        return None
    # It is well: held, seen running by its holder and by nobody else, and nothing is being done to it.
    placement = placed.value
    if placement.phase is not _HELD or placement.leaving or len(seen) != 1:
        return None
    node, session, deed = placement.node, placement.session, placement.deed
    if node is None or session is None or (here := seen.get(node)) is None or (deed is not None and deed.is_pending):
        return None
    if here.state is not _RUNNING or here.second or here.session != session:
        return None
    return node, session, spec.failover_domain


def _rests(placement: Placement) -> bool:
    """Nobody's, and not kept for a host either: that ends when it is not wanted running."""
    return placement.phase is Phase.STOPPED and placement.kept_by is None


class _Gathering:
    """A crowd as it comes together."""

    __slots__ = ("latest", "memory_mib", "vcpus", "vms")

    def __init__(self) -> None:
        self.vms: dict[VmName, VmView] = {}
        self.memory_mib = self.vcpus = 0
        self.latest = float("-inf")

    def add(self, name: VmName, vm: VmView) -> None:
        self.vms[name] = vm
        if vm.spec is None or vm.placement is None:
            return
        spec, placement = vm.spec.value, vm.placement.value
        if spec.definition is None:  # most: what it takes is said in its own record
            self.memory_mib += spec.memory_mib
            self.vcpus += spec.vcpus
        else:
            need = size_of(spec, placement)
            self.memory_mib += need.memory_mib
            self.vcpus += need.vcpus
        if (latest := latest_date(placement)) > self.latest:
            self.latest = latest

    def crowd(self) -> Crowd:
        return Crowd(vms=self.vms, size=Size(self.memory_mib, self.vcpus), latest=self.latest)


def _crowd(vms: Mapping[VmName, VmView]) -> Crowd:
    found = _Gathering()
    for name, vm in vms.items():
        found.add(name, vm)
    return found.crowd()
