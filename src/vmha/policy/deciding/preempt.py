"""Where the cluster says so (``preempt: true``): a less important vm leaves its node for one that finds no room.

* Only for a vm that no node can take for want of room, now and not just for a moment: not while a node rests after a
  failed start of it or has many starts in progress, nor for one that ends again and again.
* Only vms of a lower priority give way, the lowest first, no more than it takes: without any one of them it would not
  fit. Room that is becoming free already, by what is stopping, counts as free; room that is promised counts as taken.
* Those that give way migrate where a node can take them, else they are stopped (deciding/displace.py). They stay wanted
  running, come after the one they gave way to in the order of a plan, and start when there is room.
* Never one that others need, softly or not, nor one of a service, nor an exclusive one, nor one frozen or on its way.

It comes to an end: each time the room goes to a higher priority.
"""

from dataclasses import replace

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, Placement
from vmha.model.vm import Desired, VmSpec
from vmha.policy.placing.choice import Choice
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import choose
from vmha.policy.state import transitions
from vmha.policy.state.reservation import NOTHING, Room, Size
from vmha.policy.state.snapshot import VmView

Given = tuple[int, int, VmName, Size]
"""Priority, the negative memory, name and size of a vm that may give way: the smallest does so first."""


def ask_for_room(vm: VmView, choice: Choice, ground: Field, wall: float) -> None:
    """No node can take ``vm``: mark the less important ones that leave a node for it, if that is any use."""
    assert vm.spec
    spec, placement = vm.spec.value, vm.placement.value if vm.placement else None
    if not ground.snapshot.config.preempt or spec.exclusive or choice.retry_in_s is not None:
        return
    if transitions.ends_again_for_s(placement, wall) or vm.name in ground.ties.member_of:
        return
    if choose(spec, _without_limits(ground)).node is not None:
        return  # it is a matter of its turn, not of room
    failed = {failure.node for failure in placement.failures} if placement else set()
    found: list[tuple[tuple[int, int, NodeName], list[Given]]] = []
    by_node = _giving(spec, ground)
    for node in sorted(ground.eligible - failed):
        if (given := _enough(spec, node, by_node.get(node, []), ground)) is None:
            continue
        if not given:
            _promise(spec, node, ground)  # what is leaving it suffices
            return
        found.append(((max(one[0] for one in given), len(given), node), given))
    if found:
        (*_, node), given = min(found)
        ground.ties.gives_way |= {one[2]: vm.name for one in given}
        _promise(spec, node, ground)


def _promise(spec: VmSpec, node: NodeName, ground: Field) -> None:
    """The room is for this one: what will be free beyond what leaves, nobody less important is given meanwhile."""
    ties = ground.ties
    total = ties.promised.get(node, NOTHING) + ground.size_of(spec)
    ties.promised[node] = total
    ties.withheld[node] = _less(total, _leaving(node, spec, ground))


def _giving(spec: VmSpec, ground: Field) -> dict[NodeName, list[Given]]:
    found: dict[NodeName, list[Given]] = {}
    for name, view in ground.snapshot.vms.items():
        held = view.placement.value if view.placement else None
        if held is None or held.node is None or view.spec is None:
            continue
        if held.phase is not Phase.HELD or not _may_give_way(view, held, spec, ground):
            continue
        size = ground.size_of(view.spec.value)
        found.setdefault(held.node, []).append((view.spec.value.priority, -size.memory_mib, name, size))
    return found


def _may_give_way(view: VmView, held: Placement, rival: VmSpec, ground: Field) -> bool:
    assert view.spec
    spec, ties = view.spec.value, ground.ties
    if spec.priority >= rival.priority or spec.desired is not Desired.RUNNING or spec.exclusive or view.freeze:
        return False
    is_tied = view.name in ties.member_of or view.name in ties.gives_way or _is_needed(view.name, ground)
    node = ground.snapshot.nodes.get(held.node) if held.node else None
    return not is_tied and not held.leaving and node is not None and node.session_id == held.session


def _is_needed(name: VmName, ground: Field) -> bool:
    """Also softly: it is decided about before those that need it, so before it could be asked to give way."""
    ties = ground.ties
    return name in ties.needed_by or any(need.vm == name for needs in ties.needs.values() for need in needs)


def _enough(spec: VmSpec, node: NodeName, may: list[Given], ground: Field) -> list[Given] | None:
    """Who has to leave ``node``; none: it is enough what leaves already. None: that is no use."""
    room, need = ground.room_of(node), ground.size_of(spec)
    taken = ground.loads[node].taken + ground.ties.promised.get(node, NOTHING)
    given = fewest(need, room, _less(taken, _leaving(node, spec, ground)), sorted(may))
    if given is None:
        return None
    load = ground.loads[node]
    rest = _less(taken, sum((one[3] for one in given), _leaving(node, spec, ground)))
    emptied = replace(load, vms=max(0, load.vms - len(given)), memory_mib=rest.memory_mib, vcpus=rest.vcpus)
    alone = replace(
        ground,
        loads={**ground.loads, node: emptied},
        verdicts={node: ground.verdicts[node]},
        ties=replace(ground.ties, withheld={}),
    )
    return given if choose(spec, alone).node == node else None


def fewest(need: Size, room: Room, taken: Size, may: list[Given]) -> list[Given] | None:
    """Of those that may leave, in that order, a set without any one of which ``need`` would not fit. None: never."""
    given: list[Given] = []
    for one in may:
        if not room.refusal(need, taken):
            break
        given.append(one)
        taken = _less(taken, one[3])
    if room.refusal(need, taken):
        return None
    for one in sorted(given, reverse=True):  # the most important of them stays if the others suffice
        if not room.refusal(need, taken + one[3]):
            given.remove(one)
            taken += one[3]
    return given


def _leaving(node: NodeName, rival: VmSpec, ground: Field) -> Size:
    """What leaves a node already, and would not take its room again before ``rival`` does."""
    total = NOTHING
    for name, view in ground.snapshot.vms.items():
        held = view.placement.value if view.placement else None
        if held is None or held.node != node or view.spec is None:
            continue
        spec = view.spec.value
        is_less = spec.priority < rival.priority or spec.desired is not Desired.RUNNING
        is_going = held.phase in (Phase.STOPPING, Phase.MIGRATING) or name in ground.ties.gives_way
        if is_less and is_going:
            total += ground.size_of(spec)
    return total


def _less(taken: Size, left: Size) -> Size:
    return Size(max(0, taken.memory_mib - left.memory_mib), max(0, taken.vcpus - left.vcpus))


def _without_limits(ground: Field) -> Field:
    loads = {name: replace(load, starting=0) for name, load in ground.loads.items()}
    return replace(ground, loads=loads)
