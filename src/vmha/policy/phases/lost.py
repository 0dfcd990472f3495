"""A vm whose holder's session is over: recovered at once when the proof is on record, and never before.

Nor while it may run, or be about to, where a migration was taking it.
"""

from vmha.model.ids import NodeName
from vmha.model.records import Phase, Placement, Reason, SeenState
from vmha.model.vm import Desired
from vmha.policy.deciding.autostart import stay_down
from vmha.policy.deciding.decision import (
    Decision,
    adopt,
    change,
    in_short,
    in_words,
    place,
    seen_running,
    wait,
    why_there,
)
from vmha.policy.deciding.dependencies import gate
from vmha.policy.deciding.leaving import decide_left
from vmha.policy.deciding.making_room import with_thanks
from vmha.policy.deciding.post_copy import runs_at_once
from vmha.policy.deciding.starting import wait_for_a_node
from vmha.policy.placing.field import Field
from vmha.policy.placing.limits import RULE, no_start
from vmha.policy.room.for_all import keep_its_turn
from vmha.policy.room.given_back import choose_for_lost
from vmha.policy.state import transitions
from vmha.policy.state.causes import of_loss
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change, Waiting


def decide_lost(vm: VmView, held: Placement, ground: Field, moment: Moment) -> Decision:
    """Its holder's session is over: nothing is done without the proof on record, and then at once."""
    assert vm.spec
    assert held.session
    proof = ground.snapshot.fenced.get(held.session)
    if proof is None:
        verdict = ground.verdicts.get(held.node) if held.node else None
        text = f"{held.node} {verdict.refusal or 'has a new session' if verdict else 'is not known'}"
        return Decision(waiting=Waiting(vm=vm.name, text=f"{text}; waiting for proof that it does not run there"))
    running = seen_running(vm, ground)
    if running:
        return adopt(vm, running[0], ground, moment, why=f"{held.node} lost it and it was found running there")
    if left := decide_left(vm, held, ground.snapshot, moment):
        return left
    if unsure := _may_run_at_target(vm, held, ground):
        return Decision(waiting=Waiting(vm=vm.name, text=unsure), retry_in_s=1.0)
    if vm.spec.value.desired in (Desired.STOPPED, Desired.DISABLED):
        new = transitions.forget_holder(held, in_words(proof), moment.wall)
        return change(vm, Change.RELEASE, new, fenced=held.session)
    if down := stay_down(vm, held, ground, moment):
        return down
    arrived, arriving = _on_their_way(vm, ground)
    if arriving:
        return Decision(waiting=Waiting(vm=vm.name, text=f"{arriving} is still receiving it"), retry_in_s=1.0)
    if busy := no_start(ground):
        if vm.name not in ground.ties.needs:
            keep_its_turn(vm.spec.value, ground)
        return wait(vm, RULE, f"{in_words(proof)}; {busy}", moment=moment)
    # It boots anew even where it stands complete: its source may have run on, not having been told, so that what stands
    # there is older than the disk. That node ends it before it starts it, and no lock of it is in the way of others.
    if unready := gate(vm, ground, moment):
        return unready
    choice = choose_for_lost(vm.spec.value, held, ground, prefer=arrived)
    if choice.node is None:
        return wait_for_a_node(vm, choice, f"{in_words(proof)}; {in_short(choice)}", ground, moment)
    reason = Reason(
        rule="lost-vm-is-recovered",
        text=f"{in_words(proof)}; {why_there(vm.spec.value, choice, ground)}",
        cause=of_loss(proof.node, proof.session),
        candidates=choice.candidates,
    )
    reason = with_thanks(reason, vm, ground)
    lost = transitions.forget_holder(held, in_words(proof), moment.wall)
    new = transitions.assign(vm.name, lost, choice.node, reason, moment.wall, operation=held.operation)
    return place(vm, Change.RECOVER, new, vm.spec.value, ground, fenced=held.session)


def _may_run_at_target(vm: VmView, held: Placement, ground: Field) -> str:
    """Where libvirt switches by itself, the target may run it without having said so yet: unknown is not absent.

    So it is where a hand was migrating it to a member.
    """
    assert vm.spec
    is_libvirts = held.phase is Phase.MIGRATING and runs_at_once(held, vm.spec.value)
    to = held.target if is_libvirts else held.leaving_to
    target = ground.snapshot.nodes.get(to) if to else None
    if target is None or target.beat is None:
        return ""  # its session is over, and what ran in it with it
    verdict, status = ground.verdicts[target.name], target.current_status
    if verdict.is_alive and status is not None and status.eligible:
        return ""
    why = verdict.refusal or "has not said what runs on it"
    return f"{held.node} is fenced, and {target.name} {why}: libvirt may have let it run there"


def _on_their_way(vm: VmView, ground: Field) -> tuple[NodeName | None, NodeName | None]:
    """Where a migration that lost its source has brought the vm completely, and where it may still be coming in."""
    seen = ground.snapshot.observations(vm)
    arrived = next((o.node for o in seen if o.state is SeenState.ARRIVED), None)
    arriving = next((o.node for o in seen if o.state is SeenState.INCOMING), None)
    return arrived, arriving
