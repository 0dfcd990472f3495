"""What a played scenario has to say: placement, moves with reasons, gaps, journal, verdict. As data; text is elsewhere.

Moves are read from the store's record of each placement, gaps from the hosts' history, the verdict from
``invariants``: three witnesses that know nothing of each other. Times are seconds since the vms were added to a
cluster whose nodes had joined.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from vmha.operator.overview import Overview, overview
from vmha.policy.plan import judge_all
from vmha.policy.state.snapshot import Moment
from vmha.policy.telling.explain import summarize
from vmha.sim.journal import JournalLine, read_journal
from vmha.sim.judge.gaps import Gap, gaps_of
from vmha.sim.judge.invariants import Blocked, Violation, check_liveness, check_safety
from vmha.sim.judge.of_fitness import check_fitness
from vmha.sim.judge.of_relations import check_relations
from vmha.sim.play import Played
from vmha.sim.world.record import CommitLine
from vmha.sim.world.virtual import BEGIN_WALL


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One change of who may run a vm. ``to`` None: it was given back, or given up."""

    at_s: float
    what: str
    epoch: int
    source: str | None
    to: str | None
    rule: str
    text: str
    refusals: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VmLine:
    """``node``: where its processors run at the end, by the hosts' history."""

    name: str
    state: str
    node: str | None
    epoch: int
    desired: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GapLine:
    """``asked``: an operator had asked for it to be stopped by then."""

    vm: str
    from_s: float
    until_s: float | None
    seconds: float
    host_before: str
    host_after: str | None
    asked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    holds: bool
    never_two: bool
    violations: tuple[Violation, ...]
    blocked: tuple[Blocked, ...]
    crashes: tuple[str, ...]
    restless: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    name: str
    simulated_s: float
    steps: tuple[dict[str, Any], ...]
    nodes: tuple[tuple[str, str, str], ...]
    vms: tuple[VmLine, ...]
    moves: dict[str, tuple[Move, ...]]
    gaps: tuple[GapLine, ...]
    journal: tuple[JournalLine, ...]
    verdict: Verdict

    def plain(self) -> dict[str, Any]:
        """For JSON. Times in seconds, to the millisecond."""
        rounded: dict[str, Any] = _rounded(asdict(self))
        return rounded


def report_on(played: Played) -> Report:
    begin_s = played.begin_s
    violations = tuple(
        Violation(at_s=v.at_s - begin_s, law=v.law, text=v.text)
        for v in (
            *check_safety(played.history, played.record),
            *check_relations(played.record),
            *check_fitness(played.sights, played.history, played.record),
        )
    )
    blocked = tuple(check_liveness(played.history, played.record))
    names = sorted({vm.name for vm in played.scenario.vms} | set(played.snapshot.vms))
    moves = {name: tuple(_moves_of(name, played)) for name in names}
    shown = overview(played.snapshot, cluster="sim", wall=BEGIN_WALL + played.end_s)
    return Report(
        name=played.scenario.name,
        simulated_s=played.end_s - begin_s,
        steps=tuple(_steps(played)),
        nodes=_nodes(shown),
        vms=tuple(_vm_line(name, played) for name in names),
        moves=moves,
        gaps=tuple(_gap_line(gap, played) for name in names for gap in gaps_of(name, played.history)),
        journal=tuple(_journal_line(line, begin_s) for line in read_journal(played.record)),
        verdict=Verdict(
            holds=not violations and all(each.reason for each in blocked) and not played.crashes,
            never_two=not any(violation.law == "never-two" for violation in violations),
            violations=violations,
            blocked=blocked,
            crashes=played.crashes,
            restless=played.pending,
        ),
    )


def _steps(played: Played) -> Iterator[dict[str, Any]]:
    for happening in played.happenings:
        outcome = played.snapshot.outcomes.get(happening.request) if happening.request else None
        result = happening.result or (f"{outcome.progress}: {outcome.text}" if outcome else "")
        if happening.request and outcome is None:
            result = "not answered"
        yield {"at_s": happening.at_s, "step": happening.words, "settled": happening.settled, "result": result}


def _nodes(shown: Overview) -> tuple[tuple[str, str, str], ...]:
    return tuple((str(line.name), str(line.condition), line.why_not) for line in shown.nodes)


def _vm_line(name: str, played: Played) -> VmLine:
    snapshot = played.snapshot
    moment = Moment(now=played.end_s, wall=BEGIN_WALL + played.end_s, silence_s=played.silence_s)
    running = {fact.host: fact.deed for fact in played.history if fact.vm == name}
    hosts = sorted(host for host, deed in running.items() if deed == "runs")
    vm = snapshot.vms.get(name)  # type: ignore[call-overload]
    if vm is None:
        return VmLine(name=name, state="unknown", node=",".join(hosts) or None, epoch=0, desired="", reason="removed")
    summary = summarize(vm, snapshot, judge_all(snapshot, moment))
    return VmLine(
        name=name,
        state=str(summary.state),
        node=",".join(hosts) or None,
        epoch=int(summary.epoch),
        desired=str(summary.desired or ""),
        reason=summary.reason,
    )


def _moves_of(name: str, played: Played) -> Iterator[Move]:
    before: dict[str, Any] | None = None
    for line in played.record:
        for written in line.written:
            if written.key != f"vms/{name}/placement":
                continue
            now = written.read() if written.value is not None else None
            move = _move(line, before, now)
            if move is not None:
                yield Move(**{**asdict(move), "at_s": line.at_s - played.begin_s, "refusals": move.refusals})
            before = now


def _move(line: CommitLine, before: dict[str, Any] | None, now: dict[str, Any] | None) -> Move | None:
    held_by = before["node"] if before else None
    if now is None:
        return _make(line, "disowned", before, held_by, None) if before else None
    phase = (before["phase"] if before else "stopped", now["phase"])
    grew = before is None or now["epoch"] != before["epoch"]
    match phase:
        case ("migrating", "assigned" | "held") if grew:
            return _make(line, "handed over", now, held_by, now["node"])
        case (_, "assigned") if grew:
            return _make(line, "start", now, before["last_node"] if before and not held_by else held_by, now["node"])
        case (_, "held") if grew and now["node"]:
            return _make(line, "adopted", now, held_by, now["node"])
        case ("held", "migrating"):
            return _make(line, "migrate", now, held_by, now["target"])
        case ("migrating", "held"):
            return _make(line, "stays", now, held_by, held_by, why=now["ended_why"])
        case ("held", "stopping"):
            return _make(line, "stop", now, held_by, None)
        case (was, "stopped") if was != "stopped":
            return _make(line, f"ended ({now['ended']})", now, held_by, None, why=now["ended_why"])
        case (was, "departed") if was != "departed":
            return _make(line, "departed", now, held_by, None, why=now["ended_why"])
        case ("stopped", "stopped") if before is None or now["reason"]["text"] != before["reason"]["text"]:
            return _make(line, "waits", now, None, None)
    return None


def _make(
    line: CommitLine, what: str, record: Any, source: str | None, to: str | None, *, why: str | None = None
) -> Move:
    reason = record["reason"]
    refusals = tuple((c["node"], c["refusal"]) for c in reason["candidates"] if c["refusal"]) if why is None else ()
    return Move(
        at_s=line.at_s,
        what=what,
        epoch=record["epoch"],
        source=source,
        to=to,
        rule=reason["rule"] if why is None else "",
        text=reason["text"] if why is None else why,
        refusals=refusals if what in ("start", "migrate", "waits") else (),
    )


def _gap_line(gap: Gap, played: Played) -> GapLine:
    until_s = played.end_s if gap.until_s is None else gap.until_s
    desired = ""
    for line in played.record:
        if line.at_s > gap.from_s:
            break
        for written in line.written:
            if written.key == f"vms/{gap.vm}/spec" and written.value is not None:
                desired = written.read()["desired"]
    return GapLine(
        vm=gap.vm,
        from_s=gap.from_s - played.begin_s,
        until_s=None if gap.until_s is None else gap.until_s - played.begin_s,
        seconds=until_s - gap.from_s,
        host_before=gap.host_before,
        host_after=gap.host_after,
        asked=desired in ("stopped", "disabled"),
    )


def _journal_line(line: JournalLine, begin_s: float) -> JournalLine:
    return JournalLine(at_s=line.at_s - begin_s, by=line.by, kind=line.kind, vm=line.vm, node=line.node, text=line.text)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value
