"""A guest that a hand is migrating away is on record as leaving while that is under way.

libvirt tells nobody where it sends a guest: only the host that takes it in shows it. Until a member does, it may be on
its way out of the cluster, and when its node is lost then, no proof about that node says anything about the guest: it
may be complete at its target and run there. So it has departed, as one that was seen to leave: it is started again only
when it was seen, or confirmed gone. A guest that a member has shown coming in is on its way to that member, which is
asked as always; it is recovered when its source is lost.

What can not be known: that a hand sends a guest away while no agent is at work on its node, or one that can not commit.
"""

from dataclasses import replace

from vmha.model.ids import NodeName
from vmha.model.records import Placement, Reason
from vmha.policy import transitions
from vmha.policy.causes import of_loss
from vmha.policy.decision import Decision, change
from vmha.policy.snapshot import Moment, Snapshot, VmView
from vmha.policy.steps import Change


def find_where_it_comes_in(vm: VmView, me: NodeName, snapshot: Snapshot) -> NodeName | None:
    """The member to which a migration out of ``me`` goes, if one has shown it."""
    return next((seen.node for seen in snapshot.observations(vm) if seen.node != me and not seen.second), None)


def decide_left(vm: VmView, held: Placement, snapshot: Snapshot, moment: Moment) -> Decision | None:
    """Its holder is lost, with proof, and nobody runs it. None: where it may be is known."""
    if not held.leaving or held.leaving_to or not held.node or not held.session:
        return None
    if find_where_it_comes_in(vm, held.node, snapshot) is not None:
        return None
    why = (
        f"somebody was migrating it away from {held.node}, nobody knows where to, when {held.node} was lost; "
        "it starts again only when seen, or confirmed gone"
    )
    reason = Reason(rule="left-with-its-node", text=why, cause=of_loss(held.node, held.session))
    new = replace(transitions.depart(held, why, moment.wall), reason=reason)
    return change(vm, Change.DEPART, new, fenced=held.session)
