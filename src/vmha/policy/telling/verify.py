"""Never two, looked at from outside: what every host's own libvirt says that it has, held against what is on record.

    runs once, where it is on record        verified
    has two QEMUs, of which one may stand,
    and is not on its way                   twice
    anything else that does not fit         named, with what does not

Hosts are not asked at one instant, and the cluster goes on meanwhile: a vm whose placement changed while they were
asked, or that is on its way, is not judged. Nor is one whose node did not answer: unknown is never "absent".
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from vmha.model.checkup import CheckupAnswer, Kept
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, Placement
from vmha.policy.state.snapshot import NodeView, Snapshot, VmView

WHOLE_ANSWER = 1000
"""An answer that tells of so many domains may be cut off there (agent/checkups.py)."""


class Verdict(StrEnum):
    ONCE = "once"
    NOWHERE = "nowhere"  # and nobody holds it
    TWICE = "twice"
    ELSEWHERE = "elsewhere"  # once, but not where it is on record
    MISSING = "missing"  # on record as held by a node that has no such domain
    MOVING = "moving"  # not judged: it changed while hosts were asked
    UNKNOWN = "unknown"  # not judged: its node did not answer


GOOD = (Verdict.ONCE, Verdict.NOWHERE)


@dataclass(frozen=True, slots=True, kw_only=True)
class VmVerdict:
    vm: VmName
    verdict: Verdict
    text: str
    places: tuple[NodeName, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """``silent``: nodes that may run something and have not answered, each with the reason."""

    vms: tuple[VmVerdict, ...]
    asked: tuple[NodeName, ...]
    silent: Mapping[NodeName, str]

    @property
    def is_proven(self) -> bool:
        """Every vm runs once or nowhere, and everybody was heard."""
        return not self.silent and all(one.verdict in GOOD for one in self.vms)


def verify(before: Snapshot, after: Snapshot, answers: Mapping[NodeName, CheckupAnswer]) -> Verified:
    """``before`` was read before the hosts were asked, ``after`` when they had answered."""
    silent = dict(_silent(after, answers))
    places = _places(after, answers)
    vms = [
        _judge(name, before.vms.get(name), view, places.get(name, {}), silent, after.nodes)
        for name, view in sorted(after.vms.items())
        if view.spec or name in places
    ]
    return Verified(vms=tuple(vms), asked=tuple(sorted(answers.keys() - silent.keys())), silent=silent)


def _silent(snapshot: Snapshot, answers: Mapping[NodeName, CheckupAnswer]) -> Iterator[tuple[NodeName, str]]:
    for name, view in sorted(snapshot.nodes.items()):
        answer = answers.get(name)
        if answer is not None and answer.trouble:
            yield name, f"could not look: {answer.trouble}"
        elif answer is not None and len(answer.domains) >= WHOLE_ANSWER:
            yield name, f"told of the first {WHOLE_ANSWER} domains only"
        elif answer is None and view.beat is not None:
            yield name, "has not answered, and no proof is on record that nothing runs there"


def _places(
    snapshot: Snapshot, answers: Mapping[NodeName, CheckupAnswer]
) -> dict[VmName, dict[NodeName, tuple[Kept, ...]]]:
    """Every domain with a QEMU that is a vm's, by its uuid or its name: either is the same disk."""
    by_uuid = {vm.spec.value.uuid.lower(): name for name, vm in snapshot.vms.items() if vm.spec}
    found: dict[VmName, dict[NodeName, tuple[Kept, ...]]] = {}
    for node, answer in answers.items():
        for one in answer.domains:
            name = by_uuid.get(one.uuid.lower(), VmName(one.name))
            if one.runs and name in snapshot.vms:
                here = found.setdefault(name, {})
                here[node] = (*here.get(node, ()), one)
    return found


def _judge(
    name: VmName,
    before: VmView | None,
    now: VmView,
    places: Mapping[NodeName, tuple[Kept, ...]],
    silent: Mapping[NodeName, str],
    nodes: Mapping[NodeName, NodeView],
) -> VmVerdict:
    placement = now.placement.value if now.placement else None
    where = tuple(sorted(places))
    verdict, text = _in_words(placement, places, silent, {node for node, view in nodes.items() if view.beat})
    was = before.placement.modified if before and before.placement else None
    if verdict is not Verdict.NOWHERE and (
        was != (now.placement.modified if now.placement else None) or _is_moving(placement)
    ):
        verdict, text = Verdict.MOVING, "on its way, or changed while hosts were asked; not judged"
    return VmVerdict(vm=name, verdict=verdict, text=text, places=where)


def _in_words(
    placement: Placement | None,
    places: Mapping[NodeName, tuple[Kept, ...]],
    silent: Mapping[NodeName, str],
    living: Collection[NodeName],
) -> tuple[Verdict, str]:
    holder = placement.node if placement and placement.phase not in (Phase.STOPPED, Phase.ASSIGNED) else None
    here = ", ".join(f"{node} ({_states(found)})" for node, found in sorted(places.items()))
    if sum(len(found) for found in places.values()) > 1:
        return Verdict.TWICE, f"has more than one QEMU: {here}"
    if holder is not None and holder in silent:
        return Verdict.UNKNOWN, f"held by {holder}, which {silent[holder]}"
    if places:
        if holder in places:
            return Verdict.ONCE, f"once, on {here}"
        return Verdict.ELSEWHERE, f"runs on {here}, on record: {f'held by {holder}' if holder else 'held by nobody'}"
    if holder is not None and placement is not None and placement.phase is not Phase.DEPARTED:
        said = "whose libvirt has no such domain" if holder in living else "which has no session any more"
        return Verdict.MISSING, f"held by {holder}, {said}"
    return Verdict.NOWHERE, "runs nowhere"


def _states(found: tuple[Kept, ...]) -> str:
    return ", ".join(one.state or "running" for one in found)


def _is_moving(placement: Placement | None) -> bool:
    return placement is not None and (placement.phase in (Phase.MIGRATING, Phase.STOPPING, Phase.ASSIGNED))
