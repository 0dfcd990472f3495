"""What ties vms together, worked out once for a plan. Where nothing is tied it costs one look at each vm."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vmha.model.ids import NodeName, Revision, VmName
from vmha.model.relations import Dependency, Need
from vmha.model.service import Service
from vmha.policy.placing.room_asked import Asked, Making
from vmha.policy.placing.rule_book import Affinity
from vmha.policy.state.reservation import Size
from vmha.policy.state.snapshot import Snapshot, VmView
from vmha.policy.state.steps import PlacementStep, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """Known nodes that a cluster which has just come up waits for, and for how long at most (deciding/autostart.py)."""

    missing: tuple[NodeName, ...]
    left_s: float

    def __str__(self) -> str:
        return f"the cluster has just come up: {', '.join(self.missing)} may still join before vms are placed"


@dataclass(slots=True, kw_only=True)
class Ties:
    """``needs``: what a vm needs, without what would close a circle. ``needed_by``: whom a vm's end takes down with it.

    The others are filled while a plan is made. ``gives_way``: exclusive vms that leave their node, and to whom.
    ``stuck``: vms that no node can take: what is to start after one of them need not wait for it. ``changed``: needed
    vms whose placements this plan changes.
    """

    needs: Mapping[VmName, tuple[Dependency, ...]] = field(default_factory=dict)
    needed_by: Mapping[VmName, list[VmName]] = field(default_factory=dict)
    gives_way: dict[VmName, VmName] = field(default_factory=dict)
    promised: dict[NodeName, Size] = field(
        default_factory=dict
    )  # room that others leave for a vm (deciding/preempt.py)
    withheld: dict[NodeName, Size] = field(default_factory=dict)  # of it, what is free already
    stuck: set[VmName] = field(default_factory=set)
    changed: set[VmName] = field(default_factory=set)
    endings: dict[VmName, str] | None = None  # policy/deciding/dependencies.py
    services: Sequence[Service] = ()
    member_of: Mapping[VmName, Service] = field(default_factory=dict)
    places: dict[str, tuple[VmName, NodeName] | None] = field(default_factory=dict)  # of services (placing/services.py)
    given: dict[VmName, NodeName] = field(default_factory=dict)  # to members, by this plan
    kept: dict[NodeName, dict[str, Size]] | None = None  # for members of services that are still to come, by service
    free: set[VmName] = field(default_factory=set)  # members that an operator moves: the others follow
    affinity: Affinity | None = None  # placement rules, read when first asked for (policy/placing/affinity.py)
    asked: dict[VmName, Asked] = field(default_factory=dict)  # starts (policy/room/for_all.py)
    leaving: dict[VmName, Asked] = field(default_factory=dict)  # likewise, what is to leave a drained node
    is_turn_taken: bool = False  # starts wait for others in the whole cluster
    meant: Mapping[VmName, NodeName | None] | None = None  # where starts are to go so that all find room
    makes_room: set[VmName] = field(default_factory=set)  # of these, those that would have gone elsewhere
    making: Making | None = None  # whom room is made for by moving; None: not looked for (deciding/making_room.py)
    is_held_back: bool = False  # somebody would have others stopped for it, if moving is no help
    settling: Settling | None = None
    is_settling_known: bool = False

    def decided(self, steps: Iterable[Step]) -> None:
        """What this plan does, as far as it concerns those that come later in it."""
        if self.needs:
            self.changed |= {step.vm for step in steps if isinstance(step, PlacementStep)}

    def standing(self, name: VmName, snapshot: Snapshot) -> tuple[tuple[VmName, Revision], ...]:
        """The placements of what it needs hard, as they were read: a start compares them."""
        views = [snapshot.vms.get(VmName(need.vm)) for need in self.needs.get(name, ()) if need.mode is Need.HARD]
        return tuple((view.name, view.placement.modified) for view in views if view and view.placement)

    def in_order(self, vms: list[VmView]) -> list[VmView]:
        """What others need comes before them, whatever their importance."""
        if not self.needs:
            return vms
        by_name = {vm.name: vm for vm in vms}
        return [by_name[name] for name in self.order_of(vm.name for vm in vms) if name in by_name]

    def order_of(self, names: Iterable[VmName]) -> list[VmName]:
        """Each behind what it needs, directly or by others."""
        done: dict[VmName, None] = {}
        for name in names:
            done |= dict.fromkeys(_after_its_needs(name, self.needs, done))
        return list(done)


def tie(snapshot: Snapshot, astir: Iterable[VmView]) -> Ties:
    """``astir``: among them are all that need another (policy/state/census.py)."""
    needs = {vm.name: vm.spec.value.depends_on for vm in astir if vm.spec and vm.spec.value.depends_on}
    if not needs and not snapshot.services:
        return Ties()
    needs = _without_circles(needs)
    services = tuple(service for _, service in sorted(snapshot.services.items()))
    member_of: dict[VmName, Service] = {}
    for service in services:
        before: VmName | None = None
        for name in map(VmName, service.members):
            if name in member_of or (view := snapshot.vms.get(name)) is None or view.spec is None:
                continue
            member_of[name] = service
            if before is not None:
                _start_after(name, before, needs)
            before = name
    needed_by: dict[VmName, list[VmName]] = {}
    for name in sorted(needs):
        for need in needs[name]:
            if need.mode is Need.HARD:
                needed_by.setdefault(VmName(need.vm), []).append(name)
    return Ties(needs=needs, needed_by=needed_by, services=services, member_of=member_of)


def _start_after(name: VmName, before: VmName, needs: dict[VmName, tuple[Dependency, ...]]) -> None:
    """The order of a service. What a vm needs by its own word comes first: an order against it is passed over."""
    if name not in _all_needed(before, needs) and before not in (need.vm for need in needs.get(name, ())):
        needs[name] = (*needs.get(name, ()), Dependency(vm=before, mode=Need.SOFT))


def _all_needed(begin: VmName, needs: Mapping[VmName, tuple[Dependency, ...]]) -> list[VmName]:
    """And itself, and what these need in turn."""
    return list(_after_its_needs(begin, needs, {}))


def _without_circles(needs: Mapping[VmName, tuple[Dependency, ...]]) -> dict[VmName, tuple[Dependency, ...]]:
    """A circle can not be defined, only be written past the command line: nobody in it would ever start.

    Its vms are gone through by name, and the need that closes it is passed over.
    """
    cut: set[tuple[VmName, str]] = set()
    done: dict[VmName, None] = {}
    for name in sorted(needs):
        done |= dict.fromkeys(_after_its_needs(name, needs, done, cut))
    return {name: tuple(need for need in found if (name, need.vm) not in cut) for name, found in needs.items()}


def _after_its_needs(
    begin: VmName,
    needs: Mapping[VmName, tuple[Dependency, ...]],
    done: Mapping[VmName, object],
    cut: set[tuple[VmName, str]] | None = None,
) -> Iterator[VmName]:
    """Depth first, without recursion: a chain may be as long as there are vms. ``cut`` takes what closes a circle."""
    if begin in done:
        return
    entered, left = {begin}, set[VmName]()
    stack = [(begin, iter(needs.get(begin, ())))]
    while stack:
        name, rest = stack[-1]
        need = next(rest, None)
        if need is None:
            stack.pop()
            left.add(name)
            yield name
            continue
        needed = VmName(need.vm)
        if needed in entered and needed not in left and cut is not None:
            cut.add((name, needed))
        elif needed not in entered and needed not in done:
            entered.add(needed)
            stack.append((needed, iter(needs.get(needed, ()))))
