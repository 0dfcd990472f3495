"""Why a vm is where it is, in sentences, and what it waits for."""

from dataclasses import asdict, dataclass, field
from typing import Any

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Candidate, Phase, Verb
from vmha.model.vm import VmSpec
from vmha.operator.follow import in_words
from vmha.operator.overview import plain_vm
from vmha.operator.vms import find_spec
from vmha.policy.asked.requests import open_requests
from vmha.policy.deciding.decision import Decision
from vmha.policy.members.membership import moment_of_one_reading
from vmha.policy.placing.placement import choose, survey
from vmha.policy.placing.room_asked import WAITS
from vmha.policy.plan import decide, judge_all
from vmha.policy.state.snapshot import Snapshot, VmView
from vmha.policy.telling.explain import VmSummary, needs_restart, summarize
from vmha.policy.telling.explain_relations import tell_relations
from vmha.policy.telling.left_overs import of_vm
from vmha.policy.telling.stays import why_it_stays
from vmha.policy.telling.wait_ends import what_ends_it


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """``then``: what each node said when the vm was placed; ``now``: what each would say if it had to move now.

    ``stays``: for nodes that could take it, why it is not there; ``ends_when``: what would end the wait.
    """

    summary: VmSummary
    then: tuple[Candidate, ...]
    now: tuple[Candidate, ...]
    waiting: str = ""
    last_end: str = ""
    last_migration: str = ""
    failures: tuple[str, ...] = ()
    desired_why: str = ""
    relations: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    stays: dict[NodeName, str] = field(default_factory=dict)
    ends_when: tuple[str, ...] = ()


def why(snapshot: Snapshot, name: str, *, wall: float) -> Why:
    """Raises: UnknownName."""
    spec = find_spec(snapshot, name).value
    vm = snapshot.vms[VmName(name)]
    moment = moment_of_one_reading(snapshot, wall=wall)
    verdicts = judge_all(snapshot, moment)
    summary = summarize(vm, snapshot, verdicts)
    placement = vm.placement.value if vm.placement else None
    here = summary.node
    avoid = {here: "has it now"} if here in verdicts and here else {}
    failures = placement.failures if placement else ()
    ground = survey(snapshot, verdicts, wall)
    choice = choose(spec, ground, owner=here, avoid=avoid, failures=failures)
    waiting, decision = _waits_for(vm, snapshot, wall)
    has_stayed = placement is not None and placement.phase is Phase.HELD and placement.ended is None
    return Why(
        summary=summary,
        then=summary.candidates,
        now=choice.candidates,
        waiting=waiting,
        last_end=placement.ended_why if placement and not has_stayed else "",
        last_migration=placement.ended_why if placement and has_stayed else "",
        failures=tuple(f"{failure.node}: {failure.error}" for failure in failures),
        desired_why=spec.desired_why,
        relations=tell_relations(vm, ground),
        remarks=(*_of_its_definition(vm, spec), *of_vm(vm, snapshot)),
        stays=why_it_stays(vm, choice, ground),
        ends_when=what_ends_it(vm, decision, ground),
    )


def _of_its_definition(vm: VmView, spec: VmSpec) -> list[str]:
    placement = vm.placement.value if vm.placement else None
    said = []
    if placement and needs_restart(spec, placement):
        how = f"vmha vm restart {vm.name}"
        said.append(f"its definition was changed since it started, and counts from its next start on: {how}")
    if spec.definition is not None:
        said.append(f"its definition is read at each start from {spec.definition.in_words()}")
        if spec.memory_mib == 1 and not (placement and placement.memory_mib):
            said.append("its memory is not known before its first start: it counts as 1 MiB")
    if placement and placement.saved:
        saved = placement.saved
        said.append(f"its memory was saved on {saved.node}: the next start goes on from {saved.file}, once")
    return said


def sentences(told: Why) -> list[str]:
    """For people. Times are left to whoever prints them."""
    summary = told.summary
    lines = [f"{in_words(summary)}."]
    if summary.reason:
        lines.append(f"Why: {summary.reason}.")
    if summary.desired is not None:
        by = f" ({told.desired_why})" if told.desired_why else ""
        lines.append(f"It is wanted {summary.desired}{by}.")
    if summary.health is not None:
        lines.append(f"Its health: {summary.health}{f' ({summary.health_text})' if summary.health_text else ''}.")
    if summary.frozen:
        lines.append(f"It is frozen by {summary.frozen}; lift it with: vmha vm unfreeze {summary.name}.")
    if told.waiting and told.waiting != summary.reason:
        lines.append(f"It waits: {told.waiting}.")
    if told.ends_when:
        lines.append(f"That ends when {'; or when '.join(told.ends_when)}.")
    lines += told.relations
    if summary.progress:
        lines.append(f"How far it is: {summary.progress}.")
    if told.last_migration:
        lines.append(f"Its last migration did not happen: {told.last_migration}.")
    if summary.moved:
        lines.append(f"It was {summary.moved}.")
    if told.last_end:
        lines.append(f"How its last run ended: {told.last_end}.")
    lines += [f"A start or a migration failed on {failure}." for failure in told.failures]
    lines += [f"Mind: {remark}." for remark in told.remarks]
    chosen = summary.target or summary.node
    lines += [_said(candidate, chosen, "When it was placed, ") for candidate in told.then]
    lines += [
        _said(candidate, chosen, "Now ", told.stays.get(candidate.node, ""))
        for candidate in told.now
        if candidate.node != summary.node
    ]
    return lines


def as_plain(told: Why) -> dict[str, Any]:
    """For programs."""
    return {
        **plain_vm(told.summary),
        "candidates": [asdict(candidate) for candidate in told.then],
        "candidates_now": [asdict(candidate) for candidate in told.now],
        "waiting": told.waiting,
        "last_end": told.last_end,
        "last_migration": told.last_migration,
        "failures": list(told.failures),
        "desired_why": told.desired_why,
        "relations": list(told.relations),
        "remarks": list(told.remarks),
        "why_not_there": _why_not_there(told),
        "ends_when": list(told.ends_when),
    }


def _why_not_there(told: Why) -> dict[str, str]:
    """For each other node."""
    others = (candidate for candidate in told.now if candidate.node != told.summary.node)
    return {one.node: one.refusal or told.stays.get(one.node, "") for one in others}


def _said(candidate: Candidate, chosen: NodeName | None, when: str, stays: str = "") -> str:
    if candidate.refusal:
        return f"{when}{candidate.node} could not take it: {candidate.node} {candidate.refusal}."
    mark = " and was chosen" if candidate.node == chosen and when.startswith("When") else ""
    stays = f"; {stays}" if stays else ""
    return f"{when}{candidate.node} could take it, with score {candidate.score}{mark}{stays}."


def _waits_for(vm: VmView, snapshot: Snapshot, wall: float) -> tuple[str, Decision]:
    """What the leader would say it waits for, by the leader's own rules; and what it would decide."""
    moment = moment_of_one_reading(snapshot, wall=wall)
    ground = survey(snapshot, judge_all(snapshot, moment), wall)
    by_vm, _ = open_requests(ground)
    request = by_vm.get(vm.name)
    decision = decide(vm, request, ground, moment)
    if snapshot.leader is None:
        return "there is no leader", decision
    if decision.waiting and vm.placement and vm.placement.value.reason.rule == WAITS:
        return vm.placement.value.reason.text, decision  # it was decided together with others
    if decision.waiting:
        return decision.waiting.text, decision
    if request is not None:
        where = f" to {request.node}" if request.verb in (Verb.MIGRATE, Verb.RELOCATE) and request.node else ""
        return f"{request.author} asked to {request.verb} it{where}", decision
    return "", decision
