"""A guest that a hand is migrating away is on record as leaving while that is under way.

libvirt tells nobody where it sends a guest: only the host that takes it in shows it. Until a member does, it may be on
its way out of the cluster, and when its node is lost then, no proof about that node says anything about the guest: it
may be complete at its target and run there. So it has departed, as one that was seen to leave: it is started again only
when it was seen, or confirmed gone. A guest that a member has shown coming in is on its way to that member, which is
asked as always; it is recovered when its source is lost.

What can not be known: that a hand sends a guest away while no agent is at work on its node, or one that can not commit.
"""

from dataclasses import replace
from enum import StrEnum

from vmha.model.ids import NodeName, Revision
from vmha.model.node_findings import EndedArrival
from vmha.model.records import Phase, Placement, Reason, Stored
from vmha.policy.deciding.decision import Decision, change
from vmha.policy.state import transitions
from vmha.policy.state.causes import of_loss
from vmha.policy.state.snapshot import Moment, Snapshot, VmView
from vmha.policy.state.steps import Change


def find_where_it_comes_in(vm: VmView, me: NodeName, snapshot: Snapshot) -> NodeName | None:
    """The member to which a migration out of ``me`` goes, if one has shown it."""
    return next((seen.node for seen in snapshot.observations(vm) if seen.node != me and not seen.second), None)


TAKEN_FROM = (Phase.HELD, Phase.STOPPING, Phase.MIGRATING)
"""A guest may run, and a hand may send it away: whatever was asked of it, and perhaps never done."""


def has_come(vm: VmView | None, asked: Stored[Placement], snapshot: Snapshot) -> bool:
    """The target has, in whatever session, shown the guest under the epoch that only this migration gives it; or it
    says that the guest had come in completely, and was ended with the session that it came into.
    """
    placement = asked.value
    seen = vm.seen.get(placement.target) if vm and placement.target else None
    if seen is not None and seen.epoch == placement.epoch + 1:
        return True
    target = snapshot.nodes.get(placement.target) if placement.target else None
    status = target.current_status if target else None
    ended = status.ended_arrivals if status else ()
    its = (one for one in ended if (one.vm, one.epoch) == (placement.vm, placement.epoch + 1))
    return any(_last_beat(one, snapshot) > asked.modified for one in its)


def _last_beat(ended: EndedArrival, snapshot: Snapshot) -> Revision:
    """Of the session that ended with it. A migration that fails leaves the epoch to the next one: what came in by the
    first, in a session that was over before the second was asked for, says nothing of that.
    """
    proof = snapshot.fenced.get(ended.session)
    return max(ended.last_beat, proof.last_beat) if proof else ended.last_beat


def went_as_asked(vm: VmView, asked: Stored[Placement], snapshot: Snapshot) -> bool | None:
    """It has left by a migration, and nobody has seen by which: was it the one that was asked for?

    None: the target has not said what runs on it. A target that does not show it may have had it, and may not.
    """
    placement = asked.value
    if placement.phase is not Phase.MIGRATING or placement.target is None:
        return False
    seen = vm.seen.get(placement.target)
    is_shown = seen is not None and seen in snapshot.observations(vm)
    if placement.switched or is_shown or has_come(vm, asked, snapshot):
        return True
    target = snapshot.nodes.get(placement.target)
    if target is None or target.beat is None:
        return False  # its session is over: it says nothing any more
    status = target.current_status
    return None if status is None or not status.eligible else False


class Went(StrEnum):
    """Where a guest is that left while no agent was there to see it."""

    AS_ASKED = "as asked"
    NOT_SAID = "not said"  # ... yet: its target may still show it
    BY_HAND = "by hand"
    UNSURE = "unsure"  # its target does not say, and others can not wait for it for ever


def where_it_went(held: Placement, went: bool | None, *, is_unshown: bool, is_unsaid: bool) -> Went:
    """Of a guest that left its holder by a migration that nobody has seen.

    Args:
        held: The holder's claim.
        went: Whether by the migration that was asked for; None: its target has not said what runs on it.
        is_unshown: For so long has the target said what runs on it, and not shown it, that it has not come there.
        is_unsaid: For so long has it not been known to be there that nobody waits any longer.
    """
    if went:
        return Went.AS_ASKED
    if held.phase is Phase.MIGRATING and not (is_unshown or is_unsaid):
        return Went.NOT_SAID
    return Went.UNSURE if went is None else Went.BY_HAND


def why_departed(held: Placement, where: Went) -> str:
    """Of what left by hand, or may have."""
    if where is Went.UNSURE:
        return (
            f"it left {held.node} while no agent was there, {held.target}, where it was to go, "
            "does not say what runs there, and a hand may have sent it elsewhere; "
            "it starts again only when seen, or confirmed gone"
        )
    return (
        f"somebody migrated it away from {held.node} while no agent was there; "
        "it starts again only when seen, or confirmed gone"
    )


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
