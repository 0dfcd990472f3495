"""``vmha simulate FILE``: what would happen, on simulated hosts, with the real agents, leader and policy.

Exit codes: 0 the invariants hold; 1 they do not; 2 the file is not a scenario.
"""

from pathlib import Path
from typing import Annotated

import typer

from vmha.cli.exits import ExitCode
from vmha.cli.files import read_text
from vmha.cli.output import show, show_json
from vmha.model.errors import Rejected

app = typer.Typer()


@app.command()
def simulate(
    file: Annotated[Path | None, typer.Argument(help="The scenario, YAML or JSON; - reads standard input.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a scenario and end.")] = False,
) -> None:
    """Play a scenario on simulated hosts and say where every vm ends, why, and whether the invariants held."""
    from vmha.sim.play import play
    from vmha.sim.quiet import silence_logs
    from vmha.sim.report import report_on
    from vmha.sim.scenario_file import json_schema, load_scenario
    from vmha.sim.text import in_text

    if schema:
        show_json(json_schema())
        return
    if file is None:
        raise Rejected("simulate: no file given", accepted="a scenario file, or --schema")
    silence_logs()
    scenario = load_scenario(read_text(file, what="scenario"), file=str(file))
    report = report_on(play(scenario))
    if json:
        show_json(report.plain())
    else:
        show(in_text(report))
    if not report.verdict.holds:
        raise typer.Exit(ExitCode.FAILED)
