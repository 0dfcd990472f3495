"""What would become of the cluster: plans carried out in the mind, one after another, until nothing is left to do.

The plans are the leader's own (``policy.plan``); only the world is imagined: every start, stop and migration succeeds,
at once, and every node that is lost is lost with proof. So a forecast says where vms would go and what would not fit,
not how long it takes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from vmha.model.ids import NodeName, VmName
from vmha.model.records import (
    Phase,
    Reason,
)
from vmha.model.vm import Desired
from vmha.policy.plan import judge_all
from vmha.policy.planner import Planner
from vmha.policy.state.carried_out import carry_out
from vmha.policy.state.snapshot import Moment, Snapshot, VmView
from vmha.policy.state.steps import (
    Change,
    PlacementStep,
    Step,
    Waiting,
)
from vmha.policy.state.supposing import NodeLost, suppose

HORIZON_S = 3600.0
"""So far ahead is looked for what only waits for time to pass: a rest, a delay."""

MOST_ROUNDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One change of one vm. ``source`` and ``target`` are where it ran before and runs after; None: nowhere.

    ``is_live``: its guest goes on.
    """

    vm: VmName
    change: Change
    source: NodeName | None
    target: NodeName | None
    reason: Reason
    is_live: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """``down``: vms that are wanted running and would not run in the end, each with what it would wait for.

    ``ends``: nothing would be left to do; else it was given up after ``MOST_ROUNDS`` plans.
    """

    moves: tuple[Move, ...]
    down: tuple[Waiting, ...]
    ends: bool
    then: Snapshot

    @property
    def interrupted(self) -> tuple[VmName, ...]:
        """vms whose guests would end and be booted anew: those have a gap, in the order in which it begins."""
        ended: dict[VmName, bool] = {}
        for move in self.moves:
            if not move.is_live and move.source is not None:
                ended[move.vm] = move.target is not None
            elif move.vm in ended and move.target is not None:
                ended[move.vm] = True
        return tuple(vm for vm, is_back in ended.items() if is_back)


def foresee(snapshot: Snapshot, moment: Moment, *, horizon_s: float = HORIZON_S) -> Forecast:
    """Plan and carry out until a plan proposes nothing, and time brings nothing either.

    Args:
        snapshot: the cluster, with what is supposed of it.
        moment: now; time passes in the forecast only where nothing else can happen.
        horizon_s: how much of it at most.
    """
    moves: list[Move] = []
    planner = Planner()
    passed_s, pause_s = 0.0, 1.0
    for _ in range(MOST_ROUNDS):
        made = planner.plan(snapshot, moment)
        before = snapshot
        for step in made.steps:
            moves += _moves_of(step, snapshot)
            snapshot = carry_out(snapshot, step, wall=moment.wall)
        if _is_other(before, snapshot, made.steps):
            pause_s = 1.0
            continue
        if passed_s >= horizon_s or not (made.waiting or made.wake_in_s is not None):
            return Forecast(moves=tuple(moves), down=tuple(_down(snapshot, made.waiting)), ends=True, then=snapshot)
        # Many wait and look again each second; looking with them would take a plan for every second of the hour. Where
        # nobody says when, it is as good to look when the hour is over. Nobody falls silent here.
        pause_s = horizon_s if made.wake_in_s is None else min(max(made.wake_in_s, 2 * pause_s), horizon_s)
        passed_s += pause_s
        moment = replace(moment, now=moment.now + pause_s, wall=moment.wall + pause_s)
    made = planner.plan(snapshot, moment)
    return Forecast(moves=tuple(moves), down=tuple(_down(snapshot, made.waiting)), ends=False, then=snapshot)


def losses(snapshot: Snapshot, moment: Moment) -> dict[NodeName, Forecast]:
    """The loss of each node that is there, one at a time."""
    online = [name for name, verdict in judge_all(snapshot, moment).items() if verdict.is_alive]
    return {node: foresee(suppose(snapshot, NodeLost(node=node)), moment) for node in online}


def _moves_of(step: Step, snapshot: Snapshot) -> list[Move]:
    if not isinstance(step, PlacementStep) or step.change in (Change.NOTE, Change.DISOWN, Change.DEPART):
        return []
    view = snapshot.vms.get(step.vm)
    before = view.placement.value if view and view.placement else None
    source = before.node if before and before.phase not in (Phase.STOPPED, Phase.DEPARTED) else None
    after = step.placement
    target = None
    if after is not None and after.phase not in (Phase.STOPPED, Phase.STOPPING):
        target = after.target or after.node
    is_live = step.change in (Change.MIGRATE, Change.ADOPT)
    return [Move(vm=step.vm, change=step.change, source=source, target=target, reason=step.reason, is_live=is_live)]


def _is_other(before: Snapshot, after: Snapshot, steps: Iterable[Step]) -> bool:
    """Something was done. The same proof, say, may be forgotten only once."""
    return any(True for _ in steps) and replace(after, revision=before.revision) != before


def _down(snapshot: Snapshot, waiting: Iterable[Waiting]) -> list[Waiting]:
    said = {one.vm: one for one in waiting}
    down = []
    for name, vm in sorted(snapshot.vms.items()):
        if vm.spec is None or vm.spec.value.desired is not Desired.RUNNING:
            continue
        # One that is being migrated as this is read runs on at its source, however that migration ends.
        has_guest = vm.placement is not None and vm.placement.value.phase in (Phase.HELD, Phase.MIGRATING)
        if not has_guest or _is_lost(vm, snapshot):
            reason = vm.placement.value.reason.text if vm.placement else "it is not placed"
            down.append(said.get(name) or Waiting(vm=name, text=reason))
    return down


def _is_lost(vm: VmView, snapshot: Snapshot) -> bool:
    assert vm.placement
    held = vm.placement.value
    node = snapshot.nodes.get(held.node) if held.node else None
    return node is None or node.session_id != held.session
