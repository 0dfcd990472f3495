"""Who is here, who is suspected, who is lost: and which proof says that a lost node runs nothing.

    online --lease gone, or no beat for suspect_s--> suspect --fence agent says off--> fenced (power_off_confirmed,
       ^                                                |                                       storage_fenced)
       +-------------- a beat again --------------------+--no beat for dead_after_s--> fenced (guard/watchdog_elapsed)

A lease that is gone is suspicion only: an etcd leader that paused revokes leases of living nodes. And while our own
beats did not commit, nobody's silence says anything: it may be the store that was silent. What the channel between
the agents shows makes suspicion faster (a host that vanished) or slower (an agent that answers), and proves nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from vmha.model.ids import CauseId, NodeName, SessionId, VmName
from vmha.model.records import ArmedLevel, BeatRecord, FenceRecord, FenceStage, Phase, Reason, RemovedVm, Stored
from vmha.model.settings import Proof
from vmha.model.vm import FenceDeviceSpec, FenceRole
from vmha.policy.members.failsafe import LATE_BEATS, elapsed_after_s
from vmha.policy.state.causes import of_loss
from vmha.policy.state.snapshot import Moment, NodeView, Snapshot, VmView
from vmha.policy.state.steps import EvictSession, FenceNode, GiveBackStorage, SettlePower, Step

NOT_PUBLISHED = "has not published its inventory yet"


class Condition(StrEnum):
    ONLINE = "online"
    JOINING = "joining"  # beats, but has not said yet that it may receive vms
    UNFIT = "unfit"  # beats, and says why it may not receive vms
    MAINTENANCE = "maintenance"
    LEAVING = "leaving"
    SUSPECT = "suspect"
    FENCING = "fencing"
    LOST = "lost"  # silent for longer than dead_after_s, and not evicted (yet)
    OFFLINE = "offline"  # no session


_ALIVE = (Condition.ONLINE, Condition.JOINING, Condition.UNFIT, Condition.MAINTENANCE, Condition.LEAVING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one node is to the planner. ``refusal`` is empty for a node that may receive vms."""

    node: NodeName
    condition: Condition
    refusal: str = ""

    @property
    def may_receive(self) -> bool:
        return not self.refusal

    @property
    def is_alive(self) -> bool:
        return self.condition in _ALIVE


def judge(view: NodeView, snapshot: Snapshot, moment: Moment) -> Verdict:
    """Law 4: eligible only while its own session lives, its self-fence is armed and its inventory is published."""

    def verdict(condition: Condition, refusal: str) -> Verdict:
        return Verdict(node=view.name, condition=condition, refusal=refusal)

    beat = view.beat
    if beat is None:
        return verdict(Condition.OFFLINE, "is offline")
    if beat.value.session in moment.fencing:
        return verdict(Condition.FENCING, "is being fenced")
    silence = moment.silence_s.get(view.name, 0.0)
    if silence >= elapsed_after_s(beat.value, moment.observer):
        return verdict(Condition.LOST, f"has been silent for {silence:.0f} s")
    if is_suspect(view, snapshot, moment):
        return verdict(Condition.SUSPECT, _why_suspect(beat.value, silence, moment))
    status = view.current_status
    if status is None:
        return verdict(Condition.JOINING, NOT_PUBLISHED)
    if status.leaving:
        return verdict(Condition.LEAVING, "is shutting down")
    if view.spec and view.spec.value.maintenance:
        why = view.spec.value.maintenance_why
        return verdict(Condition.MAINTENANCE, f"is in maintenance{f' ({why})' if why else ''}")
    if status.armed is ArmedLevel.NONE:
        return verdict(Condition.UNFIT, "has no guard armed")
    if view.is_cut_off_its_storage:
        return verdict(Condition.UNFIT, "is cut off its storage: it was fenced that way and has not got it back yet")
    if not status.eligible:
        return verdict(Condition.UNFIT, status.why_not or "says it may not receive vms")
    return verdict(Condition.ONLINE, "")


def _why_suspect(beat: BeatRecord, silence: float, moment: Moment) -> str:
    if moment.observer is None or silence < beat.dead_after_s:
        return "is suspected to be lost"
    left = elapsed_after_s(beat, moment.observer) - silence
    return (
        f"is suspected to be lost; its last beat does not know {moment.observer}, and it may go on by the promise of "
        f"{', '.join(beat.promisers)} for {left:.0f} s more: power it off, and say so with vmha node confirm-off"
    )


def is_suspect(view: NodeView, snapshot: Snapshot, moment: Moment) -> bool:
    """Both the lease and the beats must be missing, or the beats for long, and the store must have been alive.

    A host that its peers do not hear any more is suspected as soon as a beat is late. One that gives a sign of life is
    given its whole hold, whatever became of its lease: its agent is being restarted, say, or is the last one to get
    through to the store after an outage. Its guests run, its guard counts, and cutting its power would only hurt them.
    """
    if view.beat is None:
        return False
    timing = snapshot.config.clockwork
    silence = min(moment.silence_s.get(view.name, 0.0), moment.store_live_s)
    if is_quickly_suspect(view, snapshot, moment):
        return True
    lease_gone = view.session is None or view.session.value.session != view.beat.value.session
    host_is_there = moment.peers.unheard_s.get(view.name, math.inf) < timing.suspect_by_peers_s
    is_quick = lease_gone and not host_is_there
    return silence >= (timing.suspect_s if is_quick else max(timing.suspect_s, timing.hold_s))


def is_quickly_suspect(view: NodeView, snapshot: Snapshot, moment: Moment) -> bool:
    """Its peers do not hear the host any more, and a beat is late."""
    silence = min(moment.silence_s.get(view.name, 0.0), moment.store_live_s)
    return silence >= snapshot.config.clockwork.beat_s * LATE_BEATS and has_vanished(view.name, snapshot, moment)


def has_leader_vanished(snapshot: Snapshot, moment: Moment) -> bool:
    """Another may take the office without waiting for the lease: a leader that is deposed can write nothing."""
    view = snapshot.nodes.get(snapshot.leader.value.node) if snapshot.leader else None
    return view is not None and view.beat is not None and is_quickly_suspect(view, snapshot, moment)


def has_vanished(name: NodeName, snapshot: Snapshot, moment: Moment) -> bool:
    """The channel shows no sign of life of the host: to us, and to one more peer where there are more than two nodes.

    An observer that hears nobody at all is rather cut off itself.
    """
    if moment.peers.unheard_s.get(name, 0.0) < snapshot.config.clockwork.suspect_by_peers_s:
        return False
    others = [view for view in snapshot.nodes.values() if view.beat and view.name not in (name, moment.observer)]
    return not others or any(name in unheard for unheard in moment.peers.witnesses.values())


def moment_of_one_reading(snapshot: Snapshot, *, wall: float) -> Moment:
    """For a reader that has watched nothing (the command line): a lease that is gone counts as just suspicious."""
    suspect_s = snapshot.config.clockwork.suspect_s
    silence = {
        name: suspect_s
        for name, view in snapshot.nodes.items()
        if view.beat and (view.session is None or view.session.value.session != view.beat.value.session)
    }
    cutting = {view.attempt.session for view in snapshot.nodes.values() if is_being_cut(view) and view.attempt}
    return Moment(now=0.0, wall=wall, silence_s=silence, fencing=frozenset(cutting))


def is_being_cut(view: NodeView) -> bool:
    return view.attempt is not None and view.attempt.stage is FenceStage.CUTTING


def fence_and_evict(
    snapshot: Snapshot, moment: Moment, verdicts: dict[NodeName, Verdict], *, braked: bool
) -> tuple[list[Step], float | None, float | None]:
    """Steps against silent nodes, in how many seconds to look again at those that are late, and in how many the first
    of the others is.
    """
    steps: list[Step] = []
    wakes: list[float] = []
    well: list[float] = []
    burdened: dict[NodeName, list[VmName]] | None = None  # asked for only where somebody is silent
    for name, verdict in verdicts.items():
        view = snapshot.nodes[name]
        if view.beat is None:
            continue
        silence = moment.silence_s.get(name, 0.0)
        marks = _marks(view, snapshot, moment)
        if silence < min(marks):
            well.append(min(marks) - silence)
        else:
            wakes.extend([mark - silence for mark in marks if mark > silence] or [snapshot.config.fencing.retry_s])
        if may_get_its_storage_back(view, verdict):
            steps.append(GiveBackStorage(node=name, beat_created=view.beat.created))
        if verdict.is_alive and (called_off := _call_off(view)):
            steps.append(called_off)
        if braked or verdict.condition not in (Condition.SUSPECT, Condition.LOST, Condition.FENCING):
            continue
        # Also while a fence agent is at work: one that hangs must not keep the clock's own proof waiting.
        is_over = silence >= elapsed_after_s(view.beat.value, moment.observer)
        if is_over and (evict := _evict_elapsed(view, snapshot, silence)):
            steps.append(evict)
        elif verdict.condition is Condition.FENCING:
            continue
        elif _power_may_be_cut(view, snapshot, moment):
            burdened = nodes_with_claims(snapshot) if burdened is None else burdened
            if name in burdened:
                steps.append(_fence(view, burdened[name], silence, vanished=has_vanished(name, snapshot, moment)))
    return steps, min(wakes, default=None), min(well, default=None)


def _call_off(view: NodeView) -> SettlePower | None:
    """It has beaten since it was to be fenced, and whoever was at it is not any more: that leader has ended, or its
    fence agents had failed by then.
    """
    assert view.beat
    known = view.fencing
    if known is None or known.value.stage not in (FenceStage.CUTTING, FenceStage.FAILED):
        return None
    if view.beat.modified < known.modified:
        return None
    text = f"{view.name} beats again: its fencing is called off"
    return SettlePower(node=view.name, expected=known.modified, text=text)


def may_get_its_storage_back(view: NodeView, verdict: Verdict) -> bool:
    """Its new session is armed and has published what runs there: nothing of the fenced one can write any more."""
    if not view.is_cut_off_its_storage or not verdict.is_alive or view.current_status is None:
        return False
    assert view.fencing
    return view.session_id != view.fencing.value.session and view.current_status.armed is not ArmedLevel.NONE


def late_in_s(snapshot: Snapshot, moment: Moment) -> float | None:
    """In how many seconds a node is late, if none beats any more; 0 or less: one is. None: no node is there."""
    beating = (view for view in snapshot.nodes.values() if view.beat)
    left = (min(_marks(view, snapshot, moment)) - moment.silence_s.get(view.name, 0.0) for view in beating)
    return min(left, default=None)


def _marks(view: NodeView, snapshot: Snapshot, moment: Moment) -> tuple[float, ...]:
    """Silences at which the verdict changes by silence alone, in seconds. At the first of them the node is late."""
    assert view.beat
    timing, beat = snapshot.config.clockwork, view.beat.value
    is_unheard = moment.peers.unheard_s.get(view.name, 0.0) >= timing.suspect_by_peers_s
    late = (timing.beat_s * LATE_BEATS,) if is_unheard else ()
    slow = max(timing.suspect_s, timing.hold_s)
    return (*late, timing.suspect_s, slow, beat.dead_after_s, elapsed_after_s(beat, moment.observer))


def _evict_elapsed(view: NodeView, snapshot: Snapshot, silence: float) -> EvictSession | None:
    beat = view.beat
    assert beat
    armed = beat.value.armed
    if armed is ArmedLevel.NONE and beat.created == beat.modified:  # a session's first beat is sent before it arms
        if not _has_begun(view, snapshot):
            return _evict_unarmed(view, silence)
        armed = view.current_status.armed if view.current_status else armed
    proof = next((one for one in _elapsing(armed) if one in snapshot.config.fencing.accept), None)
    if proof is None:
        return None
    ended_by = "guard" if proof is Proof.GUARD_ELAPSED else "guard or watchdog"
    how = (
        f"no beat of {view.name} for {silence:.1f} s: its {ended_by} ended its guests {beat.value.hold_s:g} s "
        "after the last beat it could commit"
    )
    return EvictSession(
        node=view.name,
        session=beat.value.session,
        beat_created=beat.created,
        beat_modified=beat.modified,
        proof=proof,
        how=how,
        reason=Reason(rule="silent-node-is-fenced-by-its-guard", text=how, cause=cause_of_loss(view)),
        silent_s=silence,
        former=former_sessions(snapshot, view.name, beat.value.session),
    )


def _has_begun(view: NodeView, snapshot: Snapshot) -> bool:
    """Whatever became of its next beat: it has said something since the first, or was given a vm."""
    if view.current_status is not None:
        return True
    session = view.session_id
    return any(
        (seen.session if (seen := vm.seen.get(view.name)) else None) == session
        or (vm.placement is not None and vm.placement.value.session == session)
        for vm in snapshot.vms.values()
    )


def _elapsing(armed: ArmedLevel) -> tuple[Proof, ...]:
    """The proofs that time gives, the stronger first: a guard that holds a watchdog is a guard all the same."""
    match armed:
        case ArmedLevel.WATCHDOG:
            return (Proof.WATCHDOG_ELAPSED, Proof.GUARD_ELAPSED)
        case ArmedLevel.GUARD:
            return (Proof.GUARD_ELAPSED,)
        case ArmedLevel.NONE:
            return ()


def _evict_unarmed(view: NodeView, silence: float) -> EvictSession:
    """It ended between its first beat and its guard: it never could claim a vm. Says nothing of earlier sessions."""
    beat = view.beat
    assert beat
    how = (
        f"{view.name} has been silent for {silence:.1f} s since its first beat and never armed a guard: it held nothing"
    )
    return EvictSession(
        node=view.name,
        session=beat.value.session,
        beat_created=beat.created,
        beat_modified=beat.modified,
        proof=Proof.RELEASED,
        how=how,
        reason=Reason(rule="session-that-never-began-is-over", text=how, cause=cause_of_loss(view)),
        silent_s=silence,
    )


class Left(Protocol):
    """What says of sessions that were: a snapshot, say."""

    @property
    def vms(self) -> Mapping[VmName, VmView]: ...

    @property
    def removed(self) -> Mapping[str, Stored[RemovedVm]]: ...

    @property
    def fenced(self) -> Mapping[SessionId, FenceRecord]: ...


def former_sessions(
    known: Left, node: NodeName, current: SessionId | None, *, vms: Mapping[VmName, VmView] | None = None
) -> tuple[SessionId, ...]:
    """Sessions of a node that still hold claims, or did of vms that were removed, are not the current one, and have no
    proof on record.

    ``vms``: those that the node is named for, by whoever knows them; without it all are gone through.
    """
    found = set()
    for vm in (known.vms if vms is None else vms).values():
        placement = vm.placement.value if vm.placement else None
        if placement and placement.node == node and placement.session not in (None, current):
            assert placement.session
            found.add(placement.session)
    for removed in known.removed.values():
        found |= {place.session for place in removed.value.places if place.node == node and place.session != current}
    return tuple(sorted(found - known.fenced.keys()))


def _power_may_be_cut(view: NodeView, snapshot: Snapshot, moment: Moment) -> bool:
    if not any(device.role is not FenceRole.VERIFY for device in devices_of(view, snapshot)):
        return False
    assert view.beat
    if moment.store_live_s < snapshot.config.clockwork.suspect_s:
        return False  # we were cut off or stood still ourselves: all silence is our own
    failed_at = moment.fence_failed_at.get(view.beat.value.session)
    return failed_at is None or moment.now - failed_at >= snapshot.config.fencing.retry_s


def devices_of(view: NodeView, snapshot: Snapshot) -> tuple[FenceDeviceSpec, ...]:
    """A node's fence agents, in the operator's order: those whose proof is accepted, and those that verify it."""
    accept = snapshot.config.fencing.accept
    needs = {FenceRole.POWER: Proof.POWER_OFF_CONFIRMED, FenceRole.STORAGE: Proof.STORAGE_FENCED}
    devices = view.spec.value.fence if view.spec else ()
    return tuple(one for one in devices if one.role is FenceRole.VERIFY or needs[one.role] in accept)


def _fence(view: NodeView, vms: list[VmName], silence: float, *, vanished: bool) -> FenceNode:
    assert view.beat
    sign = "gives its peers no sign of life" if vanished else "lost its lease"
    text = f"{view.name} {sign}, has sent no beat for {silence:.1f} s and holds {counted(len(vms), 'vm')}"
    return FenceNode(
        node=view.name,
        session=view.beat.value.session,
        beat_created=view.beat.created,
        beat_modified=view.beat.modified,
        reason=Reason(rule="suspect-that-holds-vms-is-powered-off", text=text, cause=cause_of_loss(view)),
        silent_s=silence,
    )


def nodes_with_claims(snapshot: Snapshot) -> dict[NodeName, list[VmName]]:
    """Nodes that hold vms, or may: only those are worth cutting the power of. Nobody waits for one that is frozen."""
    burdened: dict[NodeName, list[VmName]] = {}
    for name, vm in snapshot.vms.items():
        if vm.placement and not vm.freeze and vm.placement.value.phase not in (Phase.STOPPED, Phase.DEPARTED):
            placement = vm.placement.value
            for node in {placement.node, placement.target} - {None}:
                assert node
                burdened.setdefault(node, []).append(name)
    return burdened


def cause_of_loss(view: NodeView) -> CauseId:
    """One id for everything that follows from the loss of one session."""
    assert view.beat
    return of_loss(view.name, view.beat.value.session)


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
