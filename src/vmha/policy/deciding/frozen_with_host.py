"""A vm that the shutdown of its host has stopped, where ``on_host_shutdown`` says ``freeze``: it waits for that host.

    held --the host shuts down--> stopping, then stopped: kept by that session --the host is back--> assigned there

It is nobody's while it waits, so nothing here is about safety: any start of it is as safe as that of any stopped vm. It
waits no more, and starts where the ordinary rules say, as soon as

* an operator asks for it (``vmha vm relocate``, ``vmha vm start --on``), drains that node or removes it;
* ``freeze_for_s`` is over, or the cluster's policy is not ``freeze`` any more;
* its host has been back, with a new session, and was lost after that: that is no shutdown.

A host that is lost while it shuts down has stopped those all the same: they go on waiting. What it still held is
recovered by proof, as ever. A vm that is not wanted running any more is not kept either, whatever is asked of it later.
"""

from dataclasses import replace

from vmha.model.ids import NodeName
from vmha.model.records import Phase, Placement, Reason
from vmha.model.settings import AtShutdown
from vmha.policy.deciding.decision import NOTHING, Decision, change
from vmha.policy.members.membership import Condition
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import left_of
from vmha.policy.state import transitions
from vmha.policy.state.causes import of_start
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change, Waiting

RULE = "frozen-until-its-host-is-back"
BACK = "its-host-is-back"
STARTS_THERE = 1.0
"""A turn among the starts of one node comes soon."""

_COMING = (Condition.LEAVING, Condition.JOINING, Condition.UNFIT)


def wait_for_host(vm: VmView, ground: Field, moment: Moment) -> Decision | None:
    """Before the start of a vm that nobody holds. None: it need not wait for that."""
    held = vm.placement.value if vm.placement else None
    node = kept_for(vm, ground)
    if held is None or node is None:
        return _wait_for_a_turn(vm, held, ground)
    text = why_kept(vm, node, ground)
    left_s = left_of(bound_s, held.since, moment.wall) if (bound_s := _bound_s(ground)) else None
    waiting = Waiting(vm=vm.name, text=text)
    if (held.reason.rule, held.reason.text) == (RULE, text):
        return Decision(waiting=waiting, retry_in_s=left_s)
    reason = Reason(rule=RULE, text=text, cause=of_start(vm.name, held))
    noted = change(vm, Change.NOTE, transitions.note(vm.name, held, reason, moment.wall))
    return replace(noted, waiting=waiting, retry_in_s=left_s)


def _wait_for_a_turn(vm: VmView, held: Placement | None, ground: Field) -> Decision | None:
    """Its host is back and starts as many as it may at once: it does not go elsewhere for that."""
    if held is None or held.last_node is None or not is_back(held, ground):
        return None
    if ground.loads[held.last_node].starting < ground.limits.starts_per_node:
        return None
    text = f"{held.last_node} is back, and starts as many vms as it may at once"
    return Decision(waiting=Waiting(vm=vm.name, text=text), retry_in_s=STARTS_THERE)


def kept_for(vm: VmView, ground: Field) -> NodeName | None:
    """The node that it waits for. None: it does not."""
    held = vm.placement.value if vm.placement else None
    if held is None or held.kept_by is None or held.phase is not Phase.STOPPED or held.last_node is None:
        return None
    view = ground.snapshot.nodes.get(held.last_node)
    if view is None or (view.spec and view.spec.value.maintenance):
        return None  # removed, or drained: an operator does not want it there
    if ground.snapshot.config.on_host_shutdown.vms is not AtShutdown.FREEZE:
        return None
    bound_s = _bound_s(ground)
    if bound_s and left_of(bound_s, held.since, ground.wall) <= 0:
        return None
    condition = ground.verdicts[view.name].condition
    if condition is Condition.OFFLINE:
        last = view.status.value if view.status else None
        was_back = last is not None and last.session != held.kept_by and not last.leaving
        return None if was_back or _was_lost_again(vm, ground) else view.name
    is_same = view.session_id == held.kept_by
    return view.name if condition in _COMING or (is_same and condition is not Condition.ONLINE) else None


def _was_lost_again(vm: VmView, ground: Field) -> bool:
    """With a session that had yet to say anything: while it booted, say."""
    assert vm.placement
    held, fenced_at = vm.placement.value, ground.snapshot.fenced_at
    return any(
        proof.node == held.last_node and session != held.kept_by and fenced_at[session] > vm.placement.modified
        for session, proof in ground.snapshot.fenced.items()
    )


def why_kept(vm: VmView, node: NodeName, ground: Field) -> str:
    """In words that stay the same while it waits for the same."""
    verdict = ground.verdicts[node]
    where = f"is back, but {verdict.refusal}" if verdict.condition is Condition.UNFIT else "is shut down"
    bound_s = _bound_s(ground)
    bound = f", or elsewhere {bound_s:g} s after it was stopped" if bound_s else ""
    return (
        f"{node} {where}; it is frozen (on_host_shutdown) and starts there when {node} is back{bound}; "
        f"elsewhere now with: vmha vm relocate {vm.name}"
    )


def _bound_s(ground: Field) -> float:
    return ground.snapshot.config.on_host_shutdown.freeze_for_s


def is_back(held: Placement | None, ground: Field) -> bool:
    """Its host takes vms again: where it starts is known, whoever else is still to come up."""
    if held is None or held.kept_by is None or held.last_node is None:
        return False
    is_frozen = ground.snapshot.config.on_host_shutdown.vms is AtShutdown.FREEZE
    verdict = ground.verdicts.get(held.last_node)
    return is_frozen and verdict is not None and verdict.may_receive


def why_back(held: Placement | None, node: NodeName | None) -> tuple[str, str] | None:
    """Rule and words of its start there. None: it was not kept for this node."""
    if held is None or held.kept_by is None or held.last_node != node:
        return None
    return BACK, f"{node}, whose shutdown had stopped it, is back"


def let_go(vm: VmView) -> Decision:
    """It is not wanted running: when it is again, that is a start like any other."""
    held = vm.placement.value if vm.placement else None
    return NOTHING if held is None or held.kept_by is None else change(vm, Change.NOTE, transitions.let_go(held))
