"""Room by moving: vms that run leave a node, live, for one that should run and fits nowhere (``make_room: moves``).

Stability comes before balance, and that a vm runs comes before both. So only where one is left for want of room after
all that are to start were looked at together (room/for_all.py), the fewest moves are looked for that make room
(policy/room/by_moving.py), and the plan is made once more with them (``Ties.making``).

* A vm that is to leave a drained node and fits nowhere else asks likewise, after all that are to start.
* Room that is made, or becomes free anyway, is kept for whom it is made, if it is to start. Nothing is on record but
  the moves under way: each plan finds those that are left anew, so a new leader goes on where the last one stopped.
* It comes to an end: each move that is done leaves fewer to do, and nobody moves for the same vm again within a while.
  One that has moved goes home only to a node that joins later, as after a request.
* The limits on migrations hold: what can not begin now waits for its turn.
* Where the cluster lets more important vms stop others (preempt.py), that is done only where moving is no help.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace

from vmha.model.ids import CauseId, NodeName, VmName
from vmha.model.records import Candidate, Placement, Reason
from vmha.model.settings import MakeRoom
from vmha.model.vm import VmSpec
from vmha.policy.deciding.decision import Decision, migrate
from vmha.policy.placing.choice import Choice
from vmha.policy.placing.field import Field
from vmha.policy.placing.limits import no_migration_out_of
from vmha.policy.placing.placement import choose, survey
from vmha.policy.placing.room_asked import ASIDE, RULE, WAITS, Asked, Made, Making
from vmha.policy.room.by_moving import STARTS_AT_MOST, Resting, count, find_room
from vmha.policy.room.for_all import IS_CLEARED, placed_by, sent_by
from vmha.policy.state.causes import ROOM_FOR
from vmha.policy.state.census import Census
from vmha.policy.state.reservation import NOTHING, Size
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import PlacementStep, Step

ALL = Size(1 << 40, 1 << 20)
"""More than any node has."""


def makes_room(ground: Field) -> bool:
    snapshot = ground.snapshot
    return snapshot.config.make_room is MakeRoom.MOVES and snapshot.pause is None and snapshot.unsettled is None


def look_for_room(
    ground: Field,
    steps: list[Step],
    census: Census,
    barred: Container[str],
    meant: Mapping[VmName, NodeName | None] | None,
) -> Making | None:
    """After a plan: what is to be moved for those that it leaves waiting. None: nothing, and the plan stands.

    Args:
        ground: of that plan.
        barred: vms that somebody has asked something about.
        meant: where starts are to go (policy/room/for_all.py).
    """
    found = _look(ground, steps, census, barred, meant)
    if found is not None and (found.meant is not None or found.retry_in_s is not None):
        return found
    return Making() if ground.ties.is_held_back and ground.snapshot.config.preempt else None


def _look(
    ground: Field,
    steps: list[Step],
    census: Census,
    barred: Container[str],
    meant: Mapping[VmName, NodeName | None] | None,
) -> Making | None:
    if not makes_room(ground):
        return None
    served = set(ground.ties.gives_way.values())  # others leave for these already
    starts = {name: one for name, one in ground.ties.asked.items() if name not in served}
    first = placed_by(steps, starts)
    found: Making | None = None
    if len(first) < len(starts):
        if _is_storm(ground, len(starts) - len(first)):
            return None
        found = _find(ground, steps, census, barred, starts, first, meant)
        if found.meant is not None:
            return found
    leaving = ground.ties.leaving
    sent = sent_by(steps, leaving)
    if len(sent) == len(leaving):
        return found
    drained = _find(ground, steps, census, barred, leaving, sent, None)
    retries = [one.retry_in_s for one in (found, drained) if one and one.retry_in_s is not None]
    to = None if drained.meant is None else {**(meant or {}), **drained.meant}
    return replace(drained, meant=to, retry_in_s=min(retries, default=None))


def _find(
    ground: Field,
    steps: list[Step],
    census: Census,
    barred: Container[str],
    asked: Mapping[VmName, Asked],
    first: Mapping[VmName, NodeName],
    meant: Mapping[VmName, NodeName | None] | None,
) -> Making:
    """``first``: those of ``asked`` that this plan gives a node."""
    base = survey(ground.snapshot, ground.verdicts, ground.wall, census, ground.preferences)
    changed: set[VmName] = set()
    for step in steps:
        if isinstance(step, PlacementStep):
            changed.add(step.vm)
            if step.vm not in first:
                count(step, base)

    def is_barred(name: VmName) -> bool:
        return name in changed or name in barred

    return find_room(base, asked, first, Resting(census).on, is_barred, census.astir, meant)


def _is_storm(ground: Field, waiting: int) -> bool:
    """A crowd waits for its turn: who finds no room will be seen when it has passed."""
    most = ground.limits.starts_per_node
    is_turn = ground.ties.is_turn_taken or any(ground.loads[node].starting >= most for node in ground.eligible)
    return is_turn and waiting > STARTS_AT_MOST


def waits_for_moves(ground: Field) -> bool:
    """Nobody is ended for room (policy/deciding/preempt.py) before it is known whether moving makes it."""
    ground.ties.is_held_back = makes_room(ground) and ground.ties.making is None
    return ground.ties.is_held_back


def room_is_made(name: str, ground: Field) -> Made | None:
    making = ground.ties.making
    return making.rivals.get(VmName(name)) if making else None


def clear(made: Made, choice: Choice) -> Choice:
    """The node that is cleared for it says so instead of that it has no room."""
    said = f"{IS_CLEARED}{made}"
    told = [replace(one, refusal=said) if one.node == made.node else one for one in choice.candidates]
    if all(one.node != made.node for one in told):
        told = sorted([*told, Candidate(node=made.node, refusal=said)], key=lambda one: one.node)
    return replace(choice, node=None, candidates=tuple(told))


def keep_for(spec: VmSpec, made: Made, ground: Field) -> None:
    """What is free of its room by now is for nobody who comes later."""
    withheld, need = ground.ties.withheld, ALL if spec.exclusive else ground.size_of(spec)
    need = need if made.need is None else made.need
    going = sum((ground.size_of(view.spec.value) for view in _views(made, ground) if view.spec), NOTHING)
    kept = Size(max(0, need.memory_mib - going.memory_mib), max(0, need.vcpus - going.vcpus))
    withheld[made.node] = withheld.get(made.node, NOTHING) + kept


def _views(made: Made, ground: Field) -> list[VmView]:
    """Those that leave its node."""
    views = (ground.snapshot.vms[name] for name in (*made.moves, *made.leaving))
    return [view for view in views if view.placement and view.placement.value.node == made.node]


def with_thanks(reason: Reason, vm: VmView, ground: Field) -> Reason:
    """The reason of its start; of one that room was made for, it names who made it."""
    if vm.placement is None or vm.placement.value.reason.rule != WAITS:
        return reason
    cause = f"{ROOM_FOR}{vm.name}"
    names = [
        name
        for name, view in sorted(ground.snapshot.vms.items())
        if view.placement and view.placement.value.reason.rule == RULE and view.placement.value.reason.cause == cause
    ]
    return replace(reason, text=f"{reason.text}; {', '.join(names)} made room for it") if names else reason


def move_for_room(ground: Field, before: Iterable[Step], moment: Moment) -> Decision:
    """The moves that can begin now, at the end of a plan; the others wait for these, or for their turn."""
    making = ground.ties.making
    if making is None:
        return Decision()
    ground.ties.withheld = {}  # kept for these
    changed = {step.vm for step in before if isinstance(step, PlacementStep)}
    steps: list[Step] = []
    for name in making.moves:
        begun = () if name in changed else _move(name, making, ground, moment)
        steps += begun
        if making.in_order and not begun:
            break
    return Decision(steps=tuple(steps), retry_in_s=making.retry_in_s)


def _move(name: VmName, making: Making, ground: Field, moment: Moment) -> tuple[Step, ...]:
    """Nothing: not yet."""
    vm, (target, rival) = ground.snapshot.vms[name], making.moves[name]
    assert vm.spec
    assert vm.placement
    held = vm.placement.value
    assert held.node
    if no_migration_out_of(held.node, ground):
        return ()
    avoid = {held.node: f"makes room for {rival}"}
    choice = choose(vm.spec.value, ground, avoid=avoid, failures=held.failures, prefer=target, moving=True)
    if choice.node != target:
        return ()
    is_aside = name in making.aside
    for_how_long = " for a while" if is_aside else ""
    reason = Reason(
        rule=ASIDE if is_aside else RULE,
        text=f"moved to {target}{for_how_long} to make room for {rival} on {making.rivals[rival].node}",
        cause=CauseId(f"{ROOM_FOR}{rival}"),
        candidates=choice.candidates,
    )
    return migrate(vm, held, target, reason, ground=ground, moment=moment, stays=True).steps


def who_is_to_leave(waits: Placement, ground: Field) -> list[str]:
    """Of one that room is made for, as its record says: ``a has left h1``."""
    said = next((one for one in waits.reason.candidates if one.refusal.startswith(IS_CLEARED)), None)
    if said is None:
        return []
    names = [VmName(clause.partition(" ")[0]) for clause in said.refusal.removeprefix(IS_CLEARED).split(", ")]
    held = {name: view.placement.value for name in names if (view := ground.snapshot.vms.get(name)) and view.placement}
    return [f"{name} has left {placement.node}" for name, placement in held.items() if placement.node]
