"""A member of a service that is not where its service is goes there, live (policy/placing/services.py).

One after another, in the order of the service, and only to one that runs there: a start that fails elsewhere drags
nobody along.
"""

from vmha.model.ids import CauseId, NodeName, VmName
from vmha.model.records import Phase, Placement, Reason, SeenState
from vmha.model.service import Service
from vmha.policy.deciding.decision import NOTHING, Decision, in_short, migrate, wait
from vmha.policy.placing.field import Field
from vmha.policy.placing.limits import no_migration_out_of
from vmha.policy.placing.placement import choose
from vmha.policy.placing.services import TRIED_AT_MOST, is_led
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Waiting

RULE = "service-stays-together"
APART = "it-can-not-follow-its-service"


def follow(vm: VmView, held: Placement, ground: Field, moment: Moment) -> Decision | None:
    """For a member that runs. None: it follows nobody, and moves by the ordinary rules."""
    if vm.name not in ground.ties.member_of or (led := is_led(vm.name, ground)) is None:
        return None
    service, leader, place = led
    assert vm.spec
    assert held.node
    if place == held.node:
        refusal = ground.verdicts[held.node].refusal
        text = f"{held.node} {refusal}; service {service.name} moves with {leader}"
        return Decision(waiting=Waiting(vm=vm.name, text=text)) if refusal else NOTHING
    follows = f"it is to follow {leader} to {place}, for service {service.name}"
    if not _runs(leader, place, ground):
        return Decision(waiting=Waiting(vm=vm.name, text=f"{follows}; that does not run there yet"), retry_in_s=1.0)
    if first := _comes_first(vm.name, service, place, ground):
        return Decision(waiting=Waiting(vm=vm.name, text=f"{follows}; {first} is on its way first"), retry_in_s=1.0)
    if busy := no_migration_out_of(held.node, ground):
        return Decision(waiting=Waiting(vm=vm.name, text=f"{follows}; {busy}"), retry_in_s=1.0)
    avoid = {held.node: f"is not where the other vms of service {service.name} are ({place})"}
    choice = choose(vm.spec.value, ground, owner=held.node, avoid=avoid, failures=held.failures, moving=True)
    if choice.node is None:
        return wait(vm, APART, f"{follows}; {in_short(choice)}", choice, moment=moment)
    reason = Reason(
        rule=RULE,
        text=f"{leader} of service {service.name} is on {place}, and they stay together",
        cause=CauseId(f"service-{service.name}"),
        candidates=choice.candidates,
    )
    comes_back = choice.node == held.last_node and _has_failed_to_follow(leader, held.node, ground)
    return migrate(vm, held, choice.node, reason, ground=ground, moment=moment, stays=comes_back)


def _runs(name: VmName, place: NodeName, ground: Field) -> bool:
    vm = ground.snapshot.vms[name]
    held, seen = vm.placement.value if vm.placement else None, vm.seen.get(place)
    if held is None or held.phase is not Phase.HELD or held.node != place or seen is None:
        return False
    return seen.session == held.session and seen.state is SeenState.RUNNING


def _comes_first(name: VmName, service: Service, place: NodeName, ground: Field) -> str:
    """Another member that moves now; this plan may have sent it."""
    for member in map(VmName, service.members):
        view = ground.snapshot.vms.get(member)
        held = view.placement.value if view and view.placement else None
        is_moving = held is not None and (
            held.phase is Phase.MIGRATING or (held.phase is Phase.ASSIGNED and held.arrival)
        )
        if member != name and (is_moving or ground.ties.given.get(member) == place):
            return member
    return ""


def _has_failed_to_follow(leader: VmName, here: NodeName, ground: Field) -> bool:
    """It leads because it could not come here. What comes back to it is not to go home to here again at once."""
    view = ground.snapshot.vms[leader]
    failures = view.placement.value.failures if view.placement else ()
    return sum(failure.moving and failure.node == here for failure in failures) >= TRIED_AT_MOST
