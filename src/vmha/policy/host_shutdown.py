"""A host that shuts down in good order: what does not leave it by migration is stopped, and starts elsewhere.

    vmha leave --> leaving: not eligible, drained --migrate_s--> stops_vms: the rest is stopped --stop_s--> given up
                        +---- empty: its session ends, and its guard is disarmed ----+

Given up, the host goes off with guests: its session stays, its watchdog ticks, and it is lost like any other.
"""

from vmha.model.ids import CauseId, NodeName
from vmha.model.records import Placement, Reason
from vmha.model.settings import AtShutdown
from vmha.policy import transitions
from vmha.policy.decision import Decision, change
from vmha.policy.membership import Condition
from vmha.policy.placement import Field
from vmha.policy.snapshot import Moment, VmView
from vmha.policy.steps import Change

_WILL_NOT_TAKE_ANY = (Condition.LEAVING, Condition.OFFLINE, Condition.MAINTENANCE)


def stop_on_leaving_host(vm: VmView, held: Placement, ground: Field, moment: Moment) -> Decision | None:
    """None: its host stays, or there is still time to move it."""
    assert held.node
    why = _why_stop(held.node, ground)
    if not why:
        return None
    reason = Reason(
        rule="what-stays-on-a-leaving-host-is-stopped",
        text=f"{held.node} is shutting down, {why}; it starts elsewhere, or when {held.node} is back",
        cause=CauseId(f"drain-{held.node}"),
    )
    return change(vm, Change.STOP, transitions.ask_stop(held, reason, moment.wall))


def _why_stop(node: NodeName, ground: Field) -> str:
    status = ground.snapshot.nodes[node].current_status
    if ground.verdicts[node].condition is not Condition.LEAVING or status is None:
        return ""
    if status.stops_vms:
        return "and it could not be moved away in time"
    if ground.snapshot.config.on_host_shutdown.vms is AtShutdown.FAILOVER:
        return "and its vms are stopped at once (on_host_shutdown)"
    others = [verdict for name, verdict in ground.verdicts.items() if name != node]
    if all(verdict.condition in _WILL_NOT_TAKE_ANY for verdict in others):
        return "and no other host is there to take it"
    return ""
