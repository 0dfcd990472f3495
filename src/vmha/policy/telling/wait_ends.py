"""What would end a wait: by itself, by a node, or by somebody, with the command for it.

Asked of the same decision and the same conditions that the plan asks, never of its words. Each clause goes on from
"that ends when".
"""

from collections.abc import Iterator

from vmha.model.holds import PauseMode
from vmha.model.ids import NodeName
from vmha.model.records import Phase, Placement
from vmha.model.vm import Desired
from vmha.policy.deciding.decision import Decision
from vmha.policy.deciding.dependencies import waits_for
from vmha.policy.deciding.frozen_with_host import kept_for
from vmha.policy.deciding.making_room import who_is_to_leave
from vmha.policy.deciding.unsettled import unsettled
from vmha.policy.members.membership import Condition
from vmha.policy.placing.affinity import forbidden
from vmha.policy.placing.exclusive import clash
from vmha.policy.placing.failover_domain import Score
from vmha.policy.placing.field import Field
from vmha.policy.placing.limits import no_start
from vmha.policy.placing.placement import choose
from vmha.policy.placing.room_asked import WAITS
from vmha.policy.placing.services import apart, is_led
from vmha.policy.state.hands_off import hands_off, pause_of
from vmha.policy.state.snapshot import NodeView, VmView
from vmha.policy.telling.proofs import proofs_awaited

TOLD_AT_MOST = 8

_CONDITIONS = {
    Condition.MAINTENANCE: "{0} is let in again (vmha node undrain {0})",
    Condition.OFFLINE: "{0} is back: its agent has to reach etcd",
    Condition.JOINING: "{0} has published what runs on it (by itself)",
    Condition.UNFIT: "{0} may take vms again (vmha node why {0})",
    Condition.LEAVING: "{0} has booted again, or is told to stay (vmha leave --cancel there)",
    Condition.SUSPECT: "{0} commits a beat again",
    Condition.FENCING: "{0} commits a beat again, or is back after its fencing",
    Condition.LOST: "{0} commits a beat again, or is back",
}


def what_ends_it(vm: VmView, decision: Decision, ground: Field) -> tuple[str, ...]:
    """Empty: it waits for nothing."""
    return tuple(dict.fromkeys(_clauses(vm, decision, ground)))[:TOLD_AT_MOST]


def what_lets_it_in(node: NodeName, condition: Condition) -> str:
    """What would have to become of a node that may take no vms."""
    return _CONDITIONS.get(condition, "{0} is fit again").format(node)


def _clauses(vm: VmView, decision: Decision, ground: Field) -> Iterator[str]:
    snapshot, name = ground.snapshot, vm.name
    placement = vm.placement.value if vm.placement else None
    if snapshot.leader is None:
        yield "a leader is elected (by itself, as soon as an agent reaches etcd)"
    if vm.spec is None:
        return
    holder = _silent_holder(placement, ground)
    if holder is not None and placement and placement.session not in snapshot.fenced:
        by = "; or by ".join(proofs_awaited(holder, placement.session, snapshot))
        yield f"there is proof that it does not run on {holder.name}, by {by}"
    is_down = placement is None or placement.phase is Phase.STOPPED or holder is not None
    if placement is not None and placement.phase is Phase.DEPARTED:
        yield "a member shows that it runs there"
        yield f"you say that it runs nowhere (vmha vm confirm-gone {name})"
    if vm.spec.value.desired in (Desired.STOPPED, Desired.DISABLED):
        if is_down:
            verb = "enable" if vm.spec.value.desired is Desired.DISABLED else "start"
            yield f"somebody starts it (vmha vm {verb} {name})"
        return
    yield from _holds(vm, ground, is_down=is_down)
    if decision.waiting is None:
        return
    if holder is None and is_down and (unknown := unsettled(vm, ground)):
        yield f"it is known where it runs: {unknown}; or you say that it runs nowhere (vmha vm confirm-gone {name})"
    elif is_down:
        yield from _of_its_start(vm, placement, ground)
    elif placement is not None and placement.phase is Phase.HELD and placement.node:
        yield from _of_its_leaving(vm, placement, placement.node, ground)
    if decision.retry_in_s is not None and decision.retry_in_s >= 1.5:
        yield f"{decision.retry_in_s:.0f} s have passed (by itself)"


def _silent_holder(placement: Placement | None, ground: Field) -> NodeView | None:
    """The node whose session had it, and is not there any more."""
    if placement is None or placement.session is None or placement.node is None:
        return None
    view, verdict = ground.snapshot.nodes.get(placement.node), ground.verdicts.get(placement.node)
    if view is None or verdict is None:
        return None
    return view if view.session_id != placement.session or not verdict.is_alive else None


def _holds(vm: VmView, ground: Field, *, is_down: bool) -> Iterator[str]:
    off, pause = hands_off(vm, ground.snapshot), ground.snapshot.pause
    if off is None and is_down and pause is not None and pause.value.mode is PauseMode.STARTS:
        off = pause_of(ground.snapshot)
    if off is None:
        return
    stored = vm.freeze or pause
    hold = stored.value if stored else None
    left = f", or its time is over, in {hold.for_s - hold.spent_s:.0f} s at the most" if hold and hold.for_s else ""
    yield f"that is lifted ({off.remedy}){left}"


def _of_its_start(vm: VmView, placement: Placement | None, ground: Field) -> Iterator[str]:
    assert vm.spec
    if host := kept_for(vm, ground):
        yield what_lets_it_in(host, ground.verdicts[host].condition)
        yield f"somebody starts it elsewhere (vmha vm relocate {vm.name}, vmha node drain {host})"
        return
    unready, _ = waits_for(vm, ground) if vm.name in ground.ties.needs else ("", None)
    if unready:
        needs = ", ".join(f"vmha vm why {need.vm}" for need in ground.ties.needs[vm.name])
        yield f"what it needs is ready ({needs})"
        return
    if no_start(ground):
        yield "a start that is under way has ended (by itself)"
        return
    if placement and placement.reason.rule == WAITS:
        yield from (f"{said} (by itself)" for said in who_is_to_leave(placement, ground))
        return
    choice = choose(vm.spec.value, ground, failures=placement.failures if placement else ())
    if choice.node is None:
        for candidate in choice.candidates:
            yield _remedy(candidate.node, vm, ground, moving=False)


def _of_its_leaving(vm: VmView, held: Placement, here: NodeName, ground: Field) -> Iterator[str]:
    """It runs, and is to leave a node that is drained or shuts down."""
    assert vm.spec
    if ground.verdicts[here].condition not in (Condition.MAINTENANCE, Condition.LEAVING):
        return
    if held.reason.rule == WAITS:
        yield from (f"{said} (by itself)" for said in who_is_to_leave(held, ground))
        return
    choice = choose(vm.spec.value, ground, owner=here, avoid={here: "x"}, failures=held.failures, moving=True)
    if choice.node is None:
        for candidate in choice.candidates:
            if candidate.node != here:
                yield _remedy(candidate.node, vm, ground, moving=True)
        yield _CONDITIONS[ground.verdicts[here].condition].format(here)


def _remedy(node: NodeName, vm: VmView, ground: Field, *, moving: bool) -> str:
    """For one node that refuses, in the order in which it would be asked again."""
    assert vm.spec
    spec, verdict = vm.spec.value, ground.verdicts[node]
    if not verdict.may_receive:
        return what_lets_it_in(node, verdict.condition)
    domain = ground.domain_of(spec)
    if domain is not None and ground.ranking(spec, None).find(node)[0] is Score.ILLEGAL:
        return f"failover domain {domain.name} takes {node} in (vmha domain add {domain.name} --replace)"
    load, limits = ground.loads[node], ground.limits
    if (spec.exclusive or load.exclusive) and clash(spec, load):
        return f"the vms that are on {node} leave it"
    if ground.ties.member_of and apart(node, spec, ground):
        if is_led(spec.name, ground):
            return f"its service may be on {node}"
        return f"{node} has room for all vms of its service: vms leave it, or its capacity is raised"
    if ground.snapshot.rules and forbidden(node, spec, ground):
        return f"no rule keeps it off {node} (vmha rule list)"
    if ground.room_of(node).refusal(ground.size_of(spec), load.taken):
        return f"{node} has room for it: vms leave it, or its capacity is raised"
    busy = load.migrating >= limits.migrations_per_node if moving else load.starting >= limits.starts_per_node
    if busy:
        return f"a {'migration' if moving else 'start'} at {node} has ended (by itself)"
    return f"{node} has rested after what failed there (by itself)"
