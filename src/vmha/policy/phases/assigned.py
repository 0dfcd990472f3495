"""A vm that is given to a node which has not claimed it yet."""

from vmha.model.records import Placement, Reason
from vmha.model.vm import Desired
from vmha.policy.deciding.decision import Decision, adopt, change, in_short, place, seen_running, why_there
from vmha.policy.deciding.dependencies import end_with, take_back
from vmha.policy.deciding.starting import wait_for_a_node
from vmha.policy.members.membership import Condition
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import choose
from vmha.policy.state import transitions
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change

CLAIM_PATIENCE_S = 30.0
"""An assignment that its node has not claimed for this long is given to another."""


def decide_assigned(vm: VmView, held: Placement, ground: Field, moment: Moment) -> Decision:
    """Not claimed yet, so it may be taken back without proof: the claim compares the same record."""
    assert vm.spec
    assert vm.placement
    assert held.node
    if vm.spec.value.desired in (Desired.STOPPED, Desired.DISABLED) and not held.arrival:
        reason = Reason(rule="not-wanted-running", text=f"it is to be {vm.spec.value.desired}", cause=held.reason.cause)
        return change(vm, Change.WITHDRAW, transitions.withdraw(held, reason, moment.wall))
    running = [seen for seen in seen_running(vm, ground) if seen.node != held.node]
    if running:
        return adopt(vm, running[0], ground, moment, why="it was found running there before it was started")
    if not held.arrival and (ended := end_with(vm, held, ground, moment)):
        return ended
    verdict = ground.verdicts.get(held.node)
    waited = moment.unclaimed_s.get(vm.name, 0.0)
    if verdict and verdict.is_alive and waited < CLAIM_PATIENCE_S:
        return Decision(retry_in_s=CLAIM_PATIENCE_S - waited)
    if verdict and verdict.condition is Condition.SUSPECT and waited < CLAIM_PATIENCE_S:
        return Decision(retry_in_s=1.0)  # its lease may be back in a moment; a lost one is seen soon enough
    # What arrived where nobody claims it boots anew, as any other: what it needs has to be there.
    if held.arrival and (ended := end_with(vm, held, ground, moment)):
        return ended
    if unready := take_back(vm, held, ground, moment):
        return unready
    why = verdict.refusal if verdict and not verdict.is_alive else f"did not claim it for {waited:.0f} s"
    choice = choose(vm.spec.value, ground, avoid={held.node: why})
    if choice.node is None:
        return wait_for_a_node(vm, choice, in_short(choice), ground, moment)
    text = f"{held.node} {why}; {why_there(vm.spec.value, choice, ground)}"
    reason = Reason(
        rule="unclaimed-assignment-moves-on", text=text, cause=held.reason.cause, candidates=choice.candidates
    )
    new = transitions.assign(vm.name, held, choice.node, reason, moment.wall, operation=held.operation)
    return place(vm, Change.ASSIGN, new, vm.spec.value, ground)
