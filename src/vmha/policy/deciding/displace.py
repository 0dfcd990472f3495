"""A more important exclusive vm takes the place of a less important one, where it is the last (exclusive.py)."""

from dataclasses import replace

from vmha.model.ids import CauseId, VmName
from vmha.model.records import Phase, Placement, Reason, RunEnd, SeenState
from vmha.model.vm import Desired
from vmha.policy.deciding.decision import Decision, change, migrate
from vmha.policy.placing.affinity import ties_without
from vmha.policy.placing.field import Field
from vmha.policy.placing.load import Load
from vmha.policy.placing.placement import choose
from vmha.policy.state import transitions
from vmha.policy.state.causes import ROOM_FOR
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change

RULE = "gives-way-to-a-more-important-exclusive-vm"
PREEMPTED = "gives-way-to-a-more-important-vm"


def ask_for_room(vm: VmView, ground: Field, moment: Moment) -> None:
    """No node can take ``vm``: mark the less important exclusive vm that alone stands in its way, if there is one.

    Nobody gives way for a vm that has just failed to start on that node, or that ends again and again: it would be
    stopped for nothing, and started again, in turns.
    """
    assert vm.spec
    spec, placement = vm.spec.value, vm.placement.value if vm.placement else None
    if not spec.exclusive or transitions.ends_again_for_s(placement, moment.wall):
        return
    failed = {failure.node for failure in placement.failures} if placement else set()
    held_by = {
        name: load.exclusive[0]
        for name, load in ground.loads.items()
        if load.vms == 1 and len(load.exclusive) == 1 and name not in failed
    }
    less = {node: other for node, other in held_by.items() if is_less_important(other, spec.exclusive, ground)}
    if not less:
        return
    emptied = {node: Load(starting=0, migrating=ground.loads[node].migrating) for node in less}
    choice = choose(spec, replace(ground, loads={**ground.loads, **emptied}, ties=ties_without(less.values(), ground)))
    if choice.node in less:
        ground.ties.gives_way[less[choice.node]] = vm.name


def is_less_important(other: VmName, rank: int, ground: Field) -> bool:
    view = ground.snapshot.vms[other]
    return (
        view.spec is not None
        and view.spec.value.exclusive > rank
        and view.spec.value.desired is Desired.RUNNING
        and view.placement is not None
        and view.placement.value.phase is Phase.HELD
    )


def give_way(vm: VmView, held: Placement, ground: Field, moment: Moment) -> Decision | None:
    """Leave the node to the vm that has asked for it. None: nobody has."""
    rival = ground.ties.gives_way.get(vm.name)
    if rival is None:
        return None
    assert vm.spec
    assert held.node
    if vm.spec.value.exclusive:
        rule, text = RULE, f"{rival} is exclusive and more important, and {held.node} is the only node left for it"
    else:
        wanted = ground.snapshot.vms[rival].spec
        higher = f"{wanted.value.priority} against {vm.spec.value.priority}" if wanted else ""
        rule, text = PREEMPTED, f"{rival} is more important (priority {higher}), and no node has room for it"
    seen = vm.seen.get(held.node)
    is_running = seen is not None and seen.state is SeenState.RUNNING and seen.session == held.session
    if is_running and ground.verdicts[held.node].is_alive:
        choice = choose(vm.spec.value, ground, owner=held.node, avoid={held.node: f"is wanted by {rival}"}, moving=True)
        if choice.node is not None:
            reason = Reason(rule=rule, text=text, cause=CauseId(f"{ROOM_FOR}{rival}"), candidates=choice.candidates)
            return migrate(vm, held, choice.node, reason, ground=ground, moment=moment)
    reason = Reason(rule=rule, text=text, cause=CauseId(f"{ROOM_FOR}{rival}"))
    return change(vm, Change.STOP, transitions.ask_stop(held, reason, moment.wall))


def gave_way_to(vm: VmView) -> str:
    """For whom a vm that waits was stopped; '': for nobody."""
    placement = vm.placement.value if vm.placement else None
    if placement is None or placement.phase is not Phase.STOPPED or placement.ended is not RunEnd.ASKED:
        return ""
    return placement.reason.cause.removeprefix(ROOM_FOR) if placement.reason.cause.startswith(ROOM_FOR) else ""
