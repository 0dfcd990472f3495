"""A host that shuts down in good order: what does not leave it by migration is stopped, and starts elsewhere.

    vmha leave --> leaving: not eligible, drained --migrate_s--> stops_vms: the rest is stopped --stop_s--> given up
                        +---- empty: its session ends, and its guard is disarmed ----+

Given up, the host goes off with guests: its session stays, its watchdog ticks, and it is lost like any other. Where it
does not go off (``vmha leave`` by hand), or its leaving is called off, it takes vms again, and what was stopped starts.

Where the policy is ``freeze`` nothing leaves it: all are stopped there, those that need others before these as long as
there is time, and start there again when the host is back (deciding/frozen_with_host.py).
"""

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, Placement, Reason
from vmha.model.settings import AtShutdown
from vmha.policy.deciding.decision import Decision, change
from vmha.policy.members.membership import Condition
from vmha.policy.placing.field import Field
from vmha.policy.state import transitions
from vmha.policy.state.causes import of_drain
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change, Waiting

FROZEN = "a-leaving-host-freezes-its-vms"

_WILL_NOT_TAKE_ANY = (Condition.LEAVING, Condition.OFFLINE, Condition.MAINTENANCE)


def stop_on_leaving_host(vm: VmView, held: Placement, ground: Field, moment: Moment) -> Decision | None:
    """None: its host stays, or there is still time to move it."""
    assert held.node
    if ground.verdicts[held.node].condition is not Condition.LEAVING:
        return None
    if ground.snapshot.config.on_host_shutdown.vms is AtShutdown.FREEZE:
        return _freeze(vm, held, held.node, ground, moment)
    why = _why_stop(held.node, ground)
    if not why:
        return None
    reason = Reason(
        rule="what-stays-on-a-leaving-host-is-stopped",
        text=f"{held.node} is shutting down, {why}; it starts elsewhere, or when {held.node} is back",
        cause=of_drain(held.node),
    )
    return change(vm, Change.STOP, transitions.ask_stop(held, reason, moment.wall))


def _freeze(vm: VmView, held: Placement, node: NodeName, ground: Field, moment: Moment) -> Decision:
    status = ground.snapshot.nodes[node].current_status
    is_urgent = status is not None and status.stops_vms
    if not is_urgent and (first := _who_ends_first(vm, held, ground)):
        return Decision(waiting=Waiting(vm=vm.name, text=f"{node} is shutting down; {', '.join(first)} ends first"))
    text = f"{node} is shutting down (on_host_shutdown: freeze); it starts there again when {node} is back"
    reason = Reason(rule=FROZEN, text=text, cause=of_drain(node))
    return change(vm, Change.STOP, transitions.ask_stop_until_back(held, reason, moment.wall))


def _who_ends_first(vm: VmView, held: Placement, ground: Field) -> list[VmName]:
    """On this host: those that need it hard, or come after it in its service. Others end when they see its end."""
    service = ground.ties.member_of.get(vm.name)
    behind = service.members[service.members.index(vm.name) + 1 :] if service and vm.name in service.members else ()
    names = {*ground.ties.needed_by.get(vm.name, ()), *map(VmName, behind)} - {vm.name}
    return sorted(name for name in names if _is_here(ground.snapshot.vms.get(name), held))


def _is_here(vm: VmView | None, held: Placement) -> bool:
    other = vm.placement.value if vm and vm.spec and vm.placement else None
    is_claimed = other is not None and other.phase in (Phase.HELD, Phase.STOPPING)
    return is_claimed and other is not None and (other.node, other.session) == (held.node, held.session)


def _why_stop(node: NodeName, ground: Field) -> str:
    status = ground.snapshot.nodes[node].current_status
    if status is None:
        return ""
    if status.stops_vms:
        return "and it could not be moved away in time"
    if ground.snapshot.config.on_host_shutdown.vms is AtShutdown.FAILOVER:
        return "and its vms are stopped at once (on_host_shutdown)"
    others = [verdict for name, verdict in ground.verdicts.items() if name != node]
    if all(verdict.condition in _WILL_NOT_TAKE_ANY for verdict in others):
        return "and no other host is there to take it"
    return ""
