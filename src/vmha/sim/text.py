"""A report as text: what a person reads after ``vmha simulate``."""

from collections.abc import Iterator

from vmha.sim.report import GapLine, Move, Report


def in_text(report: Report) -> list[str]:
    lines = [f"{report.name or 'scenario'}: {report.simulated_s:.1f} s simulated"]
    if report.steps:
        lines += ["", "STEPS"]
        for step in report.steps:
            late = "" if step["settled"] else "  (the cluster had not come to rest)"
            result = f"  -> {step['result']}" if step["result"] else ""
            lines.append(f"{step['at_s']:9.3f}  {step['step']}{result}{late}")
    lines += ["", "NODES AT THE END"]
    lines += [f"  {name:<12} {condition}{f'  {why}' if why else ''}" for name, condition, why in report.nodes]
    lines += ["", "VMS AT THE END"]
    for vm in report.vms:
        lines.append(f"  {vm.name:<12} {vm.state:<11} {vm.node or '-':<10} epoch {vm.epoch}  {vm.reason}")
    lines += ["", "MOVES"]
    for name, moves in report.moves.items():
        lines.append(f"  {name}" if moves else f"  {name}: none")
        for move in moves:
            lines += _move(move)
    lines += ["", "GAPS IN AVAILABILITY"]
    lines += [_gap(gap) for gap in report.gaps] or ["  none"]
    lines += ["", "JOURNAL", *(str(line) for line in report.journal)]
    return [*lines, "", "VERDICT", *_verdict(report)]


def _move(move: Move) -> Iterator[str]:
    match move.what:
        case "migrate" | "handed over":
            way = f"{move.source} -> {move.to}"
        case "start" | "adopted" | "stays":
            way = f"on {move.to}"
        case _:
            way = f"on {move.source}" if move.source else ""
    rule = f"  [{move.rule}]" if move.rule else ""
    yield f"{move.at_s:9.3f}    {move.what} {way} epoch {move.epoch}: {move.text}{rule}".replace("  epoch", " epoch")
    for node, refusal in move.refusals:
        yield f"{'':9}      not {node}: {refusal}"


def _gap(gap: GapLine) -> str:
    after = f"then on {gap.host_after}" if gap.host_after else "and does not run at the end"
    asked = " (as asked)" if gap.asked else ""
    return f"  {gap.vm:<12} {gap.seconds:8.3f} s from {gap.from_s:.3f}: left {gap.host_before}, {after}{asked}"


def _verdict(report: Report) -> Iterator[str]:
    verdict = report.verdict
    yield "  never two at any instant" if verdict.never_two else "  TWO RAN AT ONCE"
    for violation in verdict.violations:
        yield f"  BREACH at {violation.at_s:.3f} of {violation.law}: {violation.text}"
    for crash in verdict.crashes:
        yield f"  AN AGENT CRASHED: {crash}"
    for blocked in verdict.blocked:
        yield f"  {blocked.vm} is wanted running and does not run: {blocked.reason or 'NOTHING SAYS WHY'}"
    if not verdict.blocked:
        yield "  every vm that is wanted running runs"
    if verdict.restless:
        yield f"  note: the cluster had not come to rest at the end: {verdict.restless}"
    yield "  the invariants hold" if verdict.holds else "  THE INVARIANTS DO NOT HOLD"
