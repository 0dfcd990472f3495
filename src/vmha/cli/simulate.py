"""``vmha simulate FILE``: what would happen, on simulated hosts, with the real agents, leader and policy.

Exit codes: 0 the invariants hold; 1 they do not; 2 the file is neither a scenario nor a dump or export of a cluster.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.exits import ExitCode
from vmha.cli.files import read_text
from vmha.cli.output import show, show_json
from vmha.model.errors import Rejected

if TYPE_CHECKING:
    from vmha.sim.live import Live

app = typer.Typer(add_completion=False, rich_markup_mode=None)

LARGEST_BYTES = 256 << 20
"""A dump holds every key of a cluster."""


@app.command()
def simulate(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="A scenario (YAML or JSON), or what vmha dump or vmha export wrote; - reads standard input.",
        ),
    ] = None,
    supposed: Annotated[
        list[str] | None,
        typer.Option(
            "--if",
            metavar="WHAT",
            help="With a dump or an export: what happens to it, as for vmha plan ('node NAME lost', ...). Can be given "
            "several times: one after another, each when the cluster has come to rest.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a scenario and end.")] = False,
) -> None:
    """Play a scenario, or a live cluster as it was dumped, on simulated hosts: where every vm ends, and why."""
    from vmha.sim.play import play
    from vmha.sim.quiet import silence_logs
    from vmha.sim.report import report_on
    from vmha.sim.scenario_file import json_schema
    from vmha.sim.text import in_text

    if schema:
        show_json(json_schema())
        return
    if file is None:
        raise Rejected("simulate: no file given", accepted="a scenario, a dump or an export; or --schema")
    silence_logs()
    live = _read(file, supposed or [])
    report = report_on(play(live.scenario))
    if json:
        show_json({**report.plain(), "notes": list(live.notes)})
    else:
        show([*in_text(report), *(["", "LEFT OUT", *(f"  {note}" for note in live.notes)] if live.notes else [])])
    if not report.verdict.holds:
        raise typer.Exit(ExitCode.FAILED)


def _read(file: Path, supposed: list[str]) -> "Live":
    """Raises: Rejected."""
    from vmha.operator.yaml_source import parse_yaml
    from vmha.sim.live import Live, from_dump, from_export, is_dump, is_export
    from vmha.sim.scenario_file import load_scenario

    text = read_text(file, what="scenario", at_most=LARGEST_BYTES)
    if is_dump(text):
        return from_dump(text, supposed, file=str(file))
    if is_export(parse_yaml(text, file=str(file)).data):
        return from_export(text, supposed, file=str(file), base=Path() if str(file) == "-" else file.parent)
    if supposed:
        raise Rejected("simulate: --if goes with a dump or an export", accepted="steps in the scenario itself")
    return Live(scenario=load_scenario(text, file=str(file)), notes=())
