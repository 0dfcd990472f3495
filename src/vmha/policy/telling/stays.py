"""Why a vm that runs stays where it is, though another node could take it."""

from vmha.model.ids import NodeName
from vmha.model.records import Phase, Placement
from vmha.policy.deciding.failback import wait_for
from vmha.policy.placing.choice import Choice
from vmha.policy.placing.failover_domain import rank
from vmha.policy.placing.field import Field
from vmha.policy.placing.services import is_led
from vmha.policy.state.snapshot import VmView


def why_it_stays(vm: VmView, choice: Choice, ground: Field) -> dict[NodeName, str]:
    """For each node that could take it, in words; nothing of a vm that runs nowhere or is on its way."""
    placement = vm.placement.value if vm.placement else None
    if vm.spec is None or placement is None or placement.phase is not Phase.HELD or placement.node is None:
        return {}
    here = placement.node
    able = [one.node for one in choice.candidates if not one.refusal and one.node != here]
    return {node: _why(vm, placement, here, node, ground) for node in able}


def _why(vm: VmView, placement: Placement, here: NodeName, node: NodeName, ground: Field) -> str:
    assert vm.spec
    if is_led(vm.name, ground):
        return "it stays with its service"
    domain = ground.domain_of(vm.spec.value)
    if domain is None:
        return f"{here} is as good, and what runs well is left where it is"
    plain = rank(domain.model_copy(update={"nofailback": False}), online=ground.eligible | {here}, owner=here)
    mine, theirs = plain.find(here)[0], plain.find(node)[0]
    if theirs < mine:
        return f"{here} is more preferred in failover domain {domain.name}"
    if theirs == mine:
        return f"{here} is as good, and what runs well is left where it is"
    home = f"{node} is more preferred"
    if domain.nofailback:
        return f"{home}; failover domain {domain.name} is nofailback (vmha failback now {vm.name})"
    beat = ground.snapshot.nodes[node].beat
    if beat is not None and beat.created <= placement.failback_after:
        joins = f"it was sent here after {node} had joined, and goes there when that joins anew"
        return f"{home}; {joins} (vmha failback now {vm.name})"
    not_yet, _ = wait_for(vm.spec.value.failback, node, ground)
    return not_yet or f"{home}: it goes there as soon as it can"
