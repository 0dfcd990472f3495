"""Unknown is not absent: what must be known before a vm is started that nobody holds."""

from vmha.model.ids import NodeName
from vmha.policy.members.membership import NOT_PUBLISHED, Condition, Verdict
from vmha.policy.members.removed import find_unresolved, not_known_of_offline
from vmha.policy.placing.doubts import UNHEARD, who_may_not_know
from vmha.policy.placing.field import Field
from vmha.policy.state.snapshot import VmView

NOT_KNOWN = "whether it runs there is not known"
HAS_YET_TO_LOOK = f"has not looked for it yet: {NOT_KNOWN}"
IS_JOINING = f"{NOT_PUBLISHED}: {NOT_KNOWN}"
NOT_ALL_HAVE_LOOKED = "not every node has looked for it yet: whether it runs somewhere is not known"
"""On record, whichever node is waited for: another one every instant while nodes join, for each of the vms."""


def unsettled(vm: VmView, ground: Field) -> str:
    """Why it is not started yet; '' when all is known."""
    for seen in ground.snapshot.observations(vm):
        if seen.second:
            return f"{seen.node} still has the second copy that was paused there: it is ended first"
        return f"{seen.node} still shows it as {seen.state}"
    if vm.spec and (unresolved := find_unresolved(vm.spec.value, ground.snapshot)):
        return unresolved
    if vm.placement and vm.placement.value.epoch > 0:
        return ""  # its last holder reported it gone
    for name in who_may_not_know(vm.spec.created, ground) if vm.spec else ground.verdicts:
        if unknown := _not_known_of(name, ground.verdicts[name], vm, ground):
            return unknown
    return ""


def _not_known_of(name: NodeName, verdict: Verdict, vm: VmView, ground: Field) -> str:
    """Why this node might run a vm that nobody ever held."""
    if verdict.condition in UNHEARD:
        return f"{name} {verdict.refusal}: {NOT_KNOWN}"
    assert vm.spec
    if verdict.condition is Condition.OFFLINE:
        return not_known_of_offline(name, vm, ground.snapshot)
    status = ground.snapshot.nodes[name].current_status
    if status and status.looked_for < vm.spec.created:
        return f"{name} {HAS_YET_TO_LOOK}"
    return ""
