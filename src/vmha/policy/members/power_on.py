"""A node whose power a fence agent has cut is switched on again, where ``fencing.afterwards`` is ``power-on``.

    fenced: power_off_confirmed --> off --> switching-on --confirmed--> on --> it beats in a new session: forgotten
                                     |        |      ^
                                     |        v      | again after a while, for ever, ever more seldom
                                     |      not-on --+
                                     +--> left-off: fenced too often, or a person has said that it is off

Fence agents have an action ``reboot``; it is never asked for. Its answer says that the node is on, and whether it was
off in between is not to be seen any more. So it is off first, that is confirmed and on record as the proof, and only
then on. That proves nothing and is no reason for anything: a node that comes back so is one like any other, and gets no
vm before its guard is armed and its inventory is published.

The wish is on record with the proof, in one transaction, so that no leader's end loses it; and a node that was fenced
before the setting was made is left as it is.
"""

from dataclasses import replace

from vmha.model.ids import NodeName
from vmha.model.records import FenceAttempt, FenceStage, Reason
from vmha.model.settings import Afterwards, Proof
from vmha.model.vm import FenceDeviceSpec, FenceRole
from vmha.policy.state.causes import of_loss
from vmha.policy.state.hands_off import is_paused
from vmha.policy.state.snapshot import Moment, NodeView, Snapshot
from vmha.policy.state.steps import PowerOn, SettlePower, Step

MOST_TIMES = 3
"""A node that was switched on again so often within ``WITHIN_S`` and is fenced once more stays off."""
WITHIN_S = 3600.0
LONGEST_RETRY_S = 300.0
"""After a failure the next attempt comes after ``fencing.retry_s``, after twice that, and so on up to this."""

_DUE = (FenceStage.OFF, FenceStage.SWITCHING_ON, FenceStage.NOT_ON)


def stage_after(proof: Proof, afterwards: Afterwards) -> FenceStage | None:
    """What is left to do for a node when ``proof`` of it is on record; None: nothing.

    One that was cut off its disks must get them back before it may be of use, whatever is set.
    """
    match proof, afterwards:
        case Proof.STORAGE_FENCED, _:
            return FenceStage.STORAGE_CUT
        case Proof.POWER_OFF_CONFIRMED, Afterwards.POWER_ON:
            return FenceStage.OFF
        case _:
            return None


def power_on_again(snapshot: Snapshot, moment: Moment, *, keeps_off: bool) -> tuple[list[Step], float | None]:
    """Steps for nodes that were switched off, and in how many seconds to look again."""
    steps: list[Step] = []
    wakes: list[float] = []
    for name, view in snapshot.nodes.items():
        known = view.switched_off
        if known is None or view.fencing is None:
            continue
        if view.beat is not None:  # whoever has switched it on
            steps.append(SettlePower(node=name, expected=view.fencing.modified))
        elif known.stage not in _DUE or keeps_off or known.session in moment.powering_on:
            continue
        elif words := _too_often(name, snapshot, moment.wall):
            steps.append(leave_off(view, words))
        elif why_not_on(view, snapshot) is None:
            left_s = _left_s(known, snapshot, moment)
            if left_s <= 0:
                steps.append(_power_on(view, known))
            else:
                wakes.append(left_s)
    return steps, min(wakes, default=None)


def why_not_on(view: NodeView, snapshot: Snapshot) -> str | None:
    """Why a node that is off is left so for now; None: nothing stands in the way."""
    known = view.switched_off
    if known is None:
        return "no fence agent has switched it off"
    if snapshot.config.fencing.afterwards is not Afterwards.POWER_ON:
        return f"fencing.afterwards is {snapshot.config.fencing.afterwards}"
    if view.spec is None or not power_devices(view):
        return "it has no fence agent that switches power"
    if view.spec.value.maintenance:
        return "it is in maintenance"
    if view.status and view.status.value.session == known.session and view.status.value.leaving:
        return "its host was being shut down in good order"
    if is_paused(snapshot):
        return "the cluster is paused"
    proof = snapshot.fenced.get(known.session)
    if proof is None or proof.proof is not Proof.POWER_OFF_CONFIRMED:
        return f"there is no proof on record that session {known.session} was powered off"
    if snapshot.history and snapshot.history.value.at >= proof.at:
        return "etcd was restored from a backup since: whether it is still to be switched on is not known"
    return None


def power_devices(view: NodeView) -> tuple[FenceDeviceSpec, ...]:
    """What switches its power on: those agents that cut power, in the operator's order."""
    devices = view.spec.value.fence if view.spec else ()
    return tuple(one for one in devices if one.role is FenceRole.POWER)


def leave_off(view: NodeView, why: str) -> SettlePower:
    """For good: until somebody switches it on."""
    assert view.fencing
    record = replace(view.fencing.value, stage=FenceStage.LEFT_OFF, message=why, next_at=0.0)
    return SettlePower(node=view.name, expected=view.fencing.modified, record=record, text=f"{view.name} {why}")


def is_to_be_on(view: NodeView) -> bool:
    """It is off, and nobody has decided yet that it stays so."""
    return view.beat is None and view.switched_off is not None and view.switched_off.stage in _DUE


def retry_after_s(attempts: int, retry_s: float) -> float:
    """Between two attempts, after so many of them; doubled each time."""
    return max(retry_s, min(LONGEST_RETRY_S, retry_s * 2.0 ** min(attempts - 1, 16)))


def _left_s(known: FenceAttempt, snapshot: Snapshot, moment: Moment) -> float:
    """A leader that has seen no failure itself tries at once."""
    failed_at = moment.power_on_failed_at.get(known.session)
    if failed_at is None:
        return 0.0
    return failed_at + retry_after_s(known.attempts, snapshot.config.fencing.retry_s) - moment.now


def _too_often(node: NodeName, snapshot: Snapshot, wall: float) -> str:
    """One fencing may leave proofs of several sessions, all of one instant."""
    times = {
        proof.at
        for proof in snapshot.fenced.values()
        if proof.node == node and proof.proof is Proof.POWER_OFF_CONFIRMED and proof.at > wall - WITHIN_S
    }
    if len(times) <= MOST_TIMES:
        return ""
    return f"stays off: it was fenced {len(times)} times within {WITHIN_S / 60:g} minutes; see to it, and switch it on"


def _power_on(view: NodeView, known: FenceAttempt) -> PowerOn:
    assert view.fencing
    assert view.spec
    return PowerOn(
        node=view.name,
        session=known.session,
        fencing=view.fencing.modified,
        spec=view.spec.modified,
        attempt=known.attempts + 1,
        reason=Reason(
            rule="fenced-node-is-switched-on-again",
            text=f"{view.name} was powered off ({known.message if known.stage is FenceStage.OFF else 'confirmed'})",
            cause=of_loss(view.name, known.session),
        ),
    )
