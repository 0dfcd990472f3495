"""Where a vm that was taken out of the cluster may still run: known until somebody has looked, or has proof.

Removing a vm touches no guest, and nobody guards what is nobody's. So when its node is lost, its guest may run on, and
a vm of that name or uuid that is added and started again would run twice. A ``RemovedVm`` keeps what is known:

    vm remove --> (no places) --the leader, before it forgets the claim--> places --all settled--> gone
                                    ^                                        |
                                    +---- a living session shows it elsewhere +

A place is settled when that node has looked since and does not show it, when its session is over by a proof that covers
guests that are nobody's, when the vm is held there again, or when an operator says so. **A guard's or a watchdog's
time that has run out says nothing of them**: the guard ends what is managed and then lets the host be. Only what is on
record from before the removal counts so, for then the guest was still guarded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from vmha.model.ids import NodeName, SessionId, VmName
from vmha.model.records import Phase, Placement, RemovedVm, Stored, Whereabouts
from vmha.model.settings import Proof
from vmha.model.vm import VmSpec
from vmha.policy.state.snapshot import Snapshot, VmView
from vmha.policy.state.steps import ForgetRemoved, RememberRemoved, Step

COVERS_ALL = frozenset({Proof.POWER_OFF_CONFIRMED, Proof.STORAGE_FENCED, Proof.OPERATOR_CONFIRMED})
"""Proofs about the host, or its disks, and not about what its guard has ended."""


def remember(vm: VmView, snapshot: Snapshot, wall: float) -> RememberRemoved | None:
    """What has to be on record before the claim on a vm that is no longer defined is forgotten. None: it is."""
    assert vm.placement
    placement = vm.placement.value
    found = max((one for one in snapshot.removed.values() if one.value.vm == vm.name), key=_age, default=None)
    record = found.value if found else _new(vm, wall)
    match placement.phase:
        case Phase.DEPARTED:
            wanted = replace(record, departed=placement.ended_why or "it had departed")
        case Phase.HELD | Phase.STOPPING if _may_run_on(placement.session, found, snapshot):
            assert placement.node
            assert placement.session
            wanted = _with(record, placement.node, placement.session)
        case Phase.MIGRATING | Phase.ASSIGNED if placement.target or placement.arrival:
            wanted = record
            for node, session in _its_ends(placement, snapshot):
                if _may_run_on(session, found, snapshot):
                    wanted = _with(wanted, node, session)
        case _:
            return None
    if found and wanted == record:
        return None
    return RememberRemoved(record=wanted, expected=found.modified if found else None)


def _its_ends(placement: Placement, snapshot: Snapshot) -> Iterator[tuple[NodeName, SessionId]]:
    """Of a migration that nobody ends any more: the source's session that began it, and the target's now."""
    if placement.node and placement.session:
        yield placement.node, placement.session
    to = placement.target or placement.node
    target = snapshot.nodes.get(to) if to else None
    if target is not None and target.session_id is not None:
        yield target.name, target.session_id


def _age(stored: Stored[RemovedVm]) -> int:
    return stored.created


def _new(vm: VmView, wall: float) -> RemovedVm:
    """Its definition went without a word: by a vmha of before, or with etcdctl."""
    assert vm.placement
    uuid = next((seen.uuid for seen in vm.seen.values() if seen.uuid), "")
    return RemovedVm(id=f"{vm.name}.p{vm.placement.created}", vm=vm.name, uuid=uuid, at=wall, by="")


def _may_run_on(session: SessionId | None, removed: Stored[RemovedVm] | None, snapshot: Snapshot) -> bool:
    proof = snapshot.fenced.get(session) if session else None
    if proof is None:
        return True
    if proof.proof in COVERS_ALL:
        return False
    assert session
    return removed is None or snapshot.fenced_at.get(session, removed.created) >= removed.created


def _with(record: RemovedVm, node: NodeName, session: SessionId) -> RemovedVm:
    others = tuple(place for place in record.places if place.node != node)
    places = (*others, Whereabouts(node=node, session=session))
    return replace(record, places=tuple(sorted(places, key=lambda place: place.node)))


def tidy_removed(snapshot: Snapshot) -> list[Step]:
    """What is known now of each: seen elsewhere, not there any more, or nothing left to know."""
    steps: list[Step] = []
    for name, stored in sorted(snapshot.removed.items()):
        record = stored.value
        view = snapshot.vms.get(record.vm)
        if view is not None and view.spec is None and view.placement is not None:
            continue  # what the claim says comes first
        now = record
        if view is not None and view.spec is None:
            for seen in snapshot.observations(view):
                now = _with(now, seen.node, seen.session)
        again = [vm.placement.value for vm in _defined_again(record, snapshot) if vm.placement]
        held_at = {one.node for one in again if one.session is not None}
        left = tuple(p for p in now.places if p.node not in held_at and not _is_settled(p, stored, snapshot))
        now = replace(now, places=left, departed="" if held_at else now.departed)
        if not now.places and not now.departed:
            steps.append(ForgetRemoved(id=name, expected=stored.modified))
        elif now != record:
            steps.append(RememberRemoved(record=now, expected=stored.modified))
    return steps


def _is_settled(place: Whereabouts, removed: Stored[RemovedVm], snapshot: Snapshot) -> bool:
    node = snapshot.nodes.get(place.node)
    if node is None:
        return True  # an operator has taken it out of the cluster as gone for good
    if is_proven_off(place.session, snapshot):
        return True
    status = node.current_status
    if status is None or status.looked_for < removed.created:
        return False
    view = snapshot.vms.get(removed.value.vm)
    return view is None or all(seen.node != place.node for seen in snapshot.observations(view))


def _defined_again(record: RemovedVm, snapshot: Snapshot) -> list[VmView]:
    return [vm for vm in snapshot.vms.values() if vm.spec and _is_same(record, vm.spec.value)]


def _is_same(record: RemovedVm, spec: VmSpec) -> bool:
    """By uuid, or by name: whoever has the name has its disks, as a rule."""
    return record.vm == spec.name or (record.uuid != "" and record.uuid.lower() == spec.uuid.lower())


def unresolved(spec: VmSpec, snapshot: Snapshot) -> list[Stored[RemovedVm]]:
    """What is still to be known before this vm may be started."""
    return [
        stored
        for _, stored in sorted(snapshot.removed.items())
        if _is_same(stored.value, spec) and (stored.value.departed or stored.value.places)
    ]


def find_unresolved(spec: VmSpec, snapshot: Snapshot) -> str:
    """The same in words; '' when nothing is."""
    for stored in unresolved(spec, snapshot):
        record = stored.value
        if record.places:
            return f"{', '.join(_in_words(place, snapshot) for place in record.places)}; or {_confirm(spec)}"
        return f"when vm {record.vm} was removed it had left the cluster ({record.departed}): {_confirm(spec)}"
    return ""


def not_known_of_offline(name: NodeName, vm: VmView, snapshot: Snapshot) -> str:
    """Why a node without a session might run a vm that nobody ever held; '' when it is known that it does not.

    Nobody guards there what nobody held. A hand may have started it before the vm was added, or while no agent ran.
    A node that was only named, and never joined, is as any other host out there: nothing is known of it.
    """
    assert vm.spec
    stored = snapshot.nodes[name].status
    if stored is None or is_proven_off(stored.value.session, snapshot):
        return ""
    if stored.value.looked_for < vm.spec.created:
        said = f"{name} is offline and has not looked for it: whether it runs there is not known"
    elif name in vm.seen:
        said = f"{name} is offline and was running it: whether it still does is not known"
    else:
        return ""  # it looked, and from then on its gate kept hands away
    return f"{said}; bring it back, or {_confirm(vm.spec.value)}"


def is_proven_off(session: SessionId, snapshot: Snapshot) -> bool:
    """Not only what its guard answers for, but the whole host."""
    proof = snapshot.fenced.get(session)
    return proof is not None and proof.proof in COVERS_ALL


def _in_words(place: Whereabouts, snapshot: Snapshot) -> str:
    node = snapshot.nodes.get(place.node)
    is_there = node is not None and node.session is not None and node.beat is not None
    waits = "to look for it" if is_there else "to be back and to look, or for proof that it is powered off"
    return f"{place.node} ran it when it was removed, and may run it still: waiting for {place.node} {waits}"


def _confirm(spec: VmSpec) -> str:
    return f"confirm that it runs nowhere: vmha vm confirm-gone {spec.name}"


def sessions_waited_for(snapshot: Snapshot) -> Iterator[SessionId]:
    """Their proofs are still of use."""
    for stored in snapshot.removed.values():
        yield from (place.session for place in stored.value.places)


def identities(removed: Mapping[str, Stored[RemovedVm]]) -> Iterator[tuple[str, VmName]]:
    """Uuid and name of each, for whoever looks for them."""
    for _, stored in sorted(removed.items()):
        yield stored.value.vm, stored.value.vm
        if stored.value.uuid:
            yield stored.value.uuid, stored.value.vm
