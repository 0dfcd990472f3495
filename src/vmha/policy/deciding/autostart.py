"""After the whole cluster was down: wait for nodes before the first starts, and leave down what is not to come back.

A node *is here* when a beat of it was committed since the leader's session began: what an outage has left in the store
looks alive for a while, and commits nothing.

* **Settling.** While every session that is here is young and a known node is missing, vms that nobody holds are not
  started yet: or all of them would start on the first node that comes up. It ends when no new session has come for
  ``startup.settle_s``, when all known nodes are here, or after ``startup.settle_at_most_s``. What ended by itself just
  now, and what was lost and is proven gone, does not wait.
* **autostart: false** (RGManager's ``autostart="0"``): not after an outage of the whole cluster. When no node that is
  here was here when the vm was last held or asked for, it is wanted stopped until somebody starts it. The loss of some
  nodes is no such outage: it is recovered like any other.
"""

from collections.abc import Iterator, Mapping

from vmha.model.ids import NodeName
from vmha.model.records import Placement, Reason, RunEnd
from vmha.model.vm import Desired
from vmha.policy.deciding.decision import Decision, change, in_words
from vmha.policy.members.membership import Verdict
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import left_of
from vmha.policy.placing.ties import Settling
from vmha.policy.state import transitions
from vmha.policy.state.snapshot import Moment, NodeView, Snapshot, VmView
from vmha.policy.state.steps import Change, SettleDesired, Waiting

RULE = "not-after-an-outage-of-the-whole-cluster"
LOOK_AGAIN_S = 1.0
"""That the last node is here is shown by a beat, and for a beat alone no leader looks again."""

_WAITED_WITH = (None, RunEnd.ASKED, RunEnd.NODE_LOST, RunEnd.WITHDRAWN)
"""How a vm's last run ended whose next start waits until the cluster has settled."""


def settling(snapshot: Snapshot, verdicts: Mapping[NodeName, Verdict], wall: float) -> Settling | None:
    startup = snapshot.config.startup
    if not startup.settle_s:
        return None
    here = {view.name: view for view in who_is_here(snapshot)}
    missing = [name for name, view in sorted(snapshot.nodes.items()) if not _is_settled(view, here, verdicts)]
    if not missing or not here:
        return None
    since = [view.session.value.since if view.session else float("-inf") for view in here.values()]
    left_s = min(left_of(startup.settle_s, max(since), wall), left_of(startup.settle_at_most_s, min(since), wall))
    return Settling(missing=tuple(missing), left_s=left_s) if left_s > 0 else None


def _is_settled(view: NodeView, here: Mapping[NodeName, NodeView], verdicts: Mapping[NodeName, Verdict]) -> bool:
    if view.spec and view.spec.value.maintenance:
        return True  # nothing would be placed there
    return view.name in here and view.current_status is not None and verdicts[view.name].is_alive


def who_is_here(snapshot: Snapshot) -> Iterator[NodeView]:
    leader = snapshot.nodes.get(snapshot.leader.value.node) if snapshot.leader else None
    if leader is None or leader.beat is None:
        return
    for view in snapshot.nodes.values():
        if view.beat and view.beat.modified >= leader.beat.created:
            yield view


def wait_until_settled(vm: VmView, ground: Field) -> Decision | None:
    """Before the start of a vm that nobody holds. None: it need not wait."""
    placement = vm.placement.value if vm.placement else None
    if placement is not None and placement.ended not in _WAITED_WITH:
        return None
    if not ground.ties.is_settling_known:
        ground.ties.settling = settling(ground.snapshot, ground.verdicts, ground.wall)
        ground.ties.is_settling_known = True
    found = ground.ties.settling
    if found is None:
        return None
    return Decision(waiting=Waiting(vm=vm.name, text=str(found)), retry_in_s=min(found.left_s, LOOK_AGAIN_S))


def stay_down(vm: VmView, held: Placement | None, ground: Field, moment: Moment) -> Decision | None:
    """It is not to come back after such an outage, and there was one. None: there was none, or it is to come back."""
    assert vm.spec
    if vm.spec.value.autostart or not _was_all_down(vm, held, ground.snapshot):
        return None
    if unsure := _may_be_here(ground):
        text = f"whether the whole cluster was down is not known before {unsure} has committed a beat, or is silent"
        return Decision(waiting=Waiting(vm=vm.name, text=text), retry_in_s=0.5)
    text = f"the whole cluster was down and its autostart is false; start it with: vmha vm start {vm.name}"
    reason = Reason(rule=RULE, text=text)
    settle = SettleDesired(vm=vm.name, expected=vm.spec.modified, desired=Desired.STOPPED, reason=reason)
    if held is None or held.session is None:
        return Decision(steps=(settle,))
    proof = ground.snapshot.fenced[held.session]
    new = transitions.forget_holder(held, in_words(proof), moment.wall)
    return change(vm, Change.RELEASE, new, fenced=held.session, settle=settle)


def _may_be_here(ground: Field) -> str:
    """A node that has not been silent for long: it may be about to show that it was here all the time."""
    here = {view.name for view in who_is_here(ground.snapshot)}
    return next((name for name, verdict in ground.verdicts.items() if verdict.is_alive and name not in here), "")


def _was_all_down(vm: VmView, held: Placement | None, snapshot: Snapshot) -> bool:
    assert vm.spec
    since = min((view.beat.created for view in who_is_here(snapshot) if view.beat), default=None)
    if since is None:
        return False
    last = [vm.spec.modified, *([vm.placement.modified] if vm.placement else [])]
    if held is not None and held.session is not None:
        proof = snapshot.fenced.get(held.session)
        if proof is None or not proof.last_beat:
            return False  # when its holder was last here is not known
        last.append(proof.last_beat)
    return max(last) < since
