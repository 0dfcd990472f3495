"""Vms are started so that as many of them as can be find room: before it waits, a vm is looked for a place for.

Where every vm that is to start finds room one after the other, nothing here changes where it goes. Where one does not,
all that are to start are looked at together (room/packing.py), for none of them runs yet, and the plan is made once
more with what came of it (``Ties.meant``):

* Of the more important vms as many are placed as can be, then of the less important ones. Of equally important ones a
  large vm waits where two others fit in its stead.
* Nobody goes to a node that it prefers less, by its failover domain or because it ran there before, for the sake of
  another. Soft rules and the number of vms do not count beside room.
* A place is kept for a vm that waits for its turn there (limits on starts at once).
* What runs stays where it is, and what an earlier plan has assigned stays assigned. Services, exclusive vms and what an
  operator asks for are placed as ever.

Looked at are ``VMS_AT_MOST`` vms, and so many nodes for them as take a fraction of a second: a crowd that starts all at
once on many nodes goes one after the other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from math import inf

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Candidate, Failure
from vmha.model.settings import Limits
from vmha.model.vm import VmSpec
from vmha.policy.placing.affinity import left, never_beside
from vmha.policy.placing.choice import Choice
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import able_nodes, choose, take
from vmha.policy.placing.room_asked import Asked
from vmha.policy.room.packing import Item, pack
from vmha.policy.state.reservation import NOTHING
from vmha.policy.state.steps import Change, PlacementStep, Step

VMS_AT_MOST = 200
LOOKED_AT_MOST = 20_000
"""Vms times nodes."""
NO_LIMIT = 1 << 30
FOR_OTHERS = "is left to others: without this vm there is room for more of them"
IS_CLEARED = "is making room for it: "
"""Begins the refusal of a node that others leave for the vm, and names them (policy/room/by_moving.py)."""


def choose_as(asked: Asked, ground: Field, *, prefer: NodeName | None = None) -> Choice:
    return choose(asked.spec, ground, failures=asked.failures, avoid=dict(asked.avoid), prefer=prefer or asked.prefer)


def choose_start(
    spec: VmSpec,
    ground: Field,
    *,
    failures: Iterable[Failure] = (),
    avoid: Mapping[NodeName, str] | None = None,
    prefer: NodeName | None = None,
) -> Choice:
    """As ``choose``, for a vm that is to start and may go elsewhere so that others find room."""
    asked = Asked(spec=spec, failures=tuple(failures), avoid=avoid or {}, prefer=prefer)
    ties, name = ground.ties, VmName(spec.name)
    ties.asked[name] = asked
    if ties.meant is None or name not in ties.meant:
        return choose_as(asked, ground)
    return _as_meant(asked, ties.meant[name], ground)


def choose_leaving(
    spec: VmSpec, ground: Field, *, owner: NodeName, failures: Iterable[Failure], avoid: Mapping[NodeName, str]
) -> Choice:
    """Likewise, for a vm that is to leave a drained node, by a migration."""
    ties, name = ground.ties, VmName(spec.name)
    ties.leaving[name] = Asked(spec=spec, failures=tuple(failures), avoid=avoid)
    meant = ties.meant or {}
    choice = choose(
        spec, ground, owner=owner, avoid=dict(avoid), failures=failures, prefer=meant.get(name), moving=True
    )
    return _none_of(choice, FOR_OTHERS) if name in meant and meant[name] is None else choice


def keep_its_turn(spec: VmSpec, ground: Field, failures: Iterable[Failure] = ()) -> None:
    """It waits until fewer vms start in the whole cluster; it would have to find room then."""
    ties, name = ground.ties, VmName(spec.name)
    ties.asked[name] = Asked(spec=spec, failures=tuple(failures), avoid={})
    if ties.meant is None:
        ties.is_turn_taken = True
    elif (node := ties.meant.get(name)) is not None:
        _keep(node, spec, ground)


def _as_meant(asked: Asked, node: NodeName | None, ground: Field) -> Choice:
    choice = choose_as(asked, ground)
    if node is None:
        return _none_of(choice, FOR_OTHERS)
    if choice.node == node:
        return choice
    moved = choose_as(asked, ground, prefer=node)
    if moved.node == node:
        ground.ties.makes_room.add(VmName(asked.spec.name))
        return moved
    if choose_as(asked, without_limits(ground), prefer=node).node == node:
        _keep(node, asked.spec, ground)
        return _none_of(choice, f"is left to others: its place is on {node}, in its turn")
    return choice  # something has changed that was not foreseen


def _none_of(choice: Choice, words: str) -> Choice:
    said = [one if one.refusal else replace(one, refusal=words) for one in choice.candidates]
    return replace(choice, node=None, candidates=tuple[Candidate, ...](said))


def _keep(node: NodeName, spec: VmSpec, ground: Field) -> None:
    withheld = ground.ties.withheld
    withheld[node] = withheld.get(node, NOTHING) + ground.size_of(spec)


def without_limits(ground: Field) -> Field:
    return replace(ground, _limits=_without_those_on_starts(ground.limits))


@lru_cache(maxsize=8)
def _without_those_on_starts(limits: Limits) -> Limits:
    return limits.model_copy(update={"starts_per_node": NO_LIMIT, "starts": 0})


def look_at_all(ground: Field, steps: Iterable[Step]) -> dict[VmName, NodeName | None] | None:
    """After a plan, whose ``ground`` is used up by this: where each is to go. None: where it goes, or waits, anyhow."""
    asked = ground.ties.asked
    if len(asked) < 2 or len(asked) > VMS_AT_MOST or len(asked) * len(ground.eligible) > LOOKED_AT_MOST:
        return None
    first = placed_by(steps, asked)
    waiting = [one for name, one in asked.items() if name not in first]
    most = ground.limits.starts_per_node
    is_turn = ground.ties.is_turn_taken or any(ground.loads[node].starting >= most for node in ground.eligible)
    if not waiting or not (first or is_turn):
        return None  # none of them fits anywhere
    ground.ties.withheld = {}  # what others leave room for is planned anew, too
    ground = without_limits(ground)
    is_short = False
    for one in waiting:
        node = choose_as(one, ground).node
        if node is None:
            is_short = True
            continue
        first[VmName(one.spec.name)] = node
        take(node, one.spec, ground, starting=False)
    return _packed(ground, first) if is_short else None


def placed_by(steps: Iterable[Step], asked: Mapping[VmName, Asked]) -> dict[VmName, NodeName]:
    return {
        step.vm: step.placement.node
        for step in steps
        if isinstance(step, PlacementStep)
        and step.change in (Change.ASSIGN, Change.RECOVER)
        and step.vm in asked
        and step.placement
        and step.placement.node
    }


def sent_by(steps: Iterable[Step], leaving: Mapping[VmName, Asked]) -> dict[VmName, NodeName]:
    """Where a plan migrates those that are to leave their nodes."""
    return {
        step.vm: step.placement.target
        for step in steps
        if isinstance(step, PlacementStep) and step.vm in leaving and step.placement and step.placement.target
    }


def _packed(ground: Field, first: Mapping[VmName, NodeName]) -> dict[VmName, NodeName | None] | None:
    """None: nothing places more than one after the other does."""
    asked = {
        name: one
        for name, one in ground.ties.asked.items()
        if not one.spec.exclusive and name not in ground.ties.member_of
    }
    for name, node in first.items():
        if name in asked:
            untake(node, asked[name].spec, ground)
    nodes = sorted(ground.eligible)
    number_of = {node: number for number, node in enumerate(nodes)}
    may: dict[VmName, list[int]] = {}
    for name, one in asked.items():
        ranked = able_nodes(one.spec, ground, failures=one.failures, avoid=one.avoid, prefer=one.prefer)
        mine = next((rank for rank, node in ranked if node == first.get(name)), None)
        able = [number_of[node] for rank, node in ranked if mine is None or rank == mine]
        if able:
            may[name] = able
    names = list(may)
    index = {name: number for number, name in enumerate(names)}
    items = [
        Item(
            level=asked[name].spec.priority,
            need=ground.size_of(asked[name].spec),
            nodes=tuple(may[name]),
            apart=frozenset(index[other] for other in never_beside(name, ground) if other in index),
        )
        for name in names
    ]
    alone = {index[name]: number_of[node] for name, node in first.items() if name in index}
    found = pack(items, [_free(node, ground) for node in nodes], alone)
    if sorted(-items[number].level for number in found) == sorted(-items[number].level for number in alone):
        return None
    return {name: nodes[found[number]] if number in found else None for name, number in index.items()}


def _free(node: NodeName, ground: Field) -> tuple[float, float]:
    room, taken = ground.room_of(node), ground.loads[node].taken
    return (
        room.memory_mib - taken.memory_mib if room.memory_mib else inf,
        room.vcpus - taken.vcpus if room.vcpus else inf,
    )


def untake(node: NodeName, spec: VmSpec, ground: Field) -> None:
    load, need = ground.loads[node], ground.size_of(spec)
    load.vms -= 1
    load.memory_mib -= need.memory_mib
    load.vcpus -= need.vcpus
    if ground.snapshot.rules:
        left(spec.name, node, ground)
