"""``vmha sim``: many random lives of a simulated cluster, every fault at any time, and what the invariants say.

Exit codes: 0 every life is good; 1 at least one is not, and the line that replays it is printed; 2 impossible options.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.exits import ExitCode
from vmha.cli.files import read_text
from vmha.cli.output import show, show_json
from vmha.model.errors import Rejected

if TYPE_CHECKING:
    from vmha.sim.chaos import Life
    from vmha.sim.faults.schedule import Schedule

app = typer.Typer(add_completion=False, rich_markup_mode=None)

TOLD_EVERY = 100
"""Lives: some minutes go by before the last of a thousand."""
_BOUNDS = re.compile(r"(\d+)(?:-(\d+))?")


@app.command()
def sim(
    seeds: Annotated[int, typer.Option(min=1, help="How many lives.")] = 20,
    first_seed: Annotated[int, typer.Option(min=0, help="The first seed; the others follow.")] = 1,
    nodes: Annotated[str, typer.Option(help="Hosts of each cluster, or from-to, drawn for each seed.")] = "3",
    vms: Annotated[str, typer.Option(help="Vms of each cluster, or from-to, drawn for each seed.")] = "4",
    steps: Annotated[int, typer.Option(min=0, max=100_000, help="Faults and operations in each life.")] = 40,
    faults: Annotated[
        str, typer.Option(help="Only these names or kinds, by commas; -NAME leaves one out. See --list-faults.")
    ] = "",
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Processes to share the seeds.")] = 1,
    trace: Annotated[bool, typer.Option("--trace", help="Print everything that happened, not only breaches.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    schedule: Annotated[Path | None, typer.Option(help="Play this file instead of drawing lives.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the schedule of the first seed to a file.")] = None,
    shrink: Annotated[bool, typer.Option(help="Look for fewer steps that still fail, for the first bad life.")] = True,
    list_faults: Annotated[bool, typer.Option("--list-faults", help="Say what faults there are, and end.")] = False,
) -> None:
    """Random faults on simulated hosts, then healing: never two at any instant, and everything runs again."""
    from vmha.sim.drawing.draw import Options, draw
    from vmha.sim.faults.catalogue import FAULTS, selected
    from vmha.sim.lives import as_plain, live_all, replay_command, total, trace_of, trace_to_breach

    if list_faults:
        width = max(len(fault.name) for fault in FAULTS)
        show([f"{fault.name:<{width}}  {fault.kind:<9}  {fault.about}" for fault in FAULTS])
        return
    options = Options(
        nodes=_bounds("--nodes", nodes, 1, 32), vms=_bounds("--vms", vms, 1, 200), steps=steps, faults=faults
    )
    selected(faults)
    if save is not None:
        _write(save, draw(first_seed, options))
        show(f"the schedule of seed {first_seed} is in {save}: vmha sim --schedule {save}")
        return
    lives: list[Life] = []
    bad: list[Life] = []
    found = (
        _play_file(schedule)
        if schedule
        else live_all(range(first_seed, first_seed + seeds), options, jobs=jobs, whole=trace)
    )
    for life in found:
        lives.append(life)
        if len(lives) % TOLD_EVERY == 0:
            typer.echo(f"{len(lives)} lives played, {len(bad) + (not life.is_good)} bad", err=True)
        if trace and not json:
            show(trace_of(life))
        if life.is_good:
            continue
        bad.append(life)
        if not json:
            what = str(schedule) if schedule else f"seed {life.seed}"
            show([f"{what} breaks an invariant:", *(f"  {line}" for line in life.what_is_wrong())])
            show([f"  ... {line}" for line in trace_to_breach(life)])
            if schedule is None:
                show(f"  replay: {replay_command(life.seed, options)}")
            if shrink and len(bad) == 1:
                _show_shrunk(_read(schedule) if schedule else draw(life.seed, options), life)
    simulated_s = sum(life.simulated_s for life in lives)
    if json:
        plain = [as_plain(life) for life in lives]
        show_json(
            {
                "seeds": len(lives),
                "good": len(lives) - len(bad),
                "simulated_s": round(simulated_s, 3),
                "reached": total(lives),
                "lives": plain,
            }
        )
    else:
        show([f"  {count:>9}  {what}" for what, count in total(lives).items()])
        hours = f"{simulated_s / 3600:.1f} hours simulated"
        show(f"{len(lives)} seeds, {len(lives) - len(bad)} good, {len(bad)} bad; {hours}")
    if bad:
        raise typer.Exit(ExitCode.FAILED)


def _bounds(option: str, text: str, least: int, most: int) -> tuple[int, int]:
    found = _BOUNDS.fullmatch(text.strip())
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
    if not least <= low <= high <= most:
        accepted = f"a number from {least} to {most}, or two of them as in {least + 2}-{least + 8}"
        raise Rejected(f"{option}: {text!r}", accepted=accepted)
    return low, high


def _read(file: Path) -> "Schedule":
    from vmha.sim.drawing.schedule_file import from_text

    return from_text(read_text(file, what="--schedule"), file=str(file))


def _write(file: Path, schedule: "Schedule") -> None:
    from vmha.sim.drawing.schedule_file import to_json

    try:
        file.write_text(to_json(schedule))
    except OSError as error:
        raise Rejected(f"{file}: {error.strerror}") from error


def _play_file(file: Path) -> "list[Life]":
    from vmha.sim.chaos import live_through
    from vmha.sim.quiet import silence_logs

    silence_logs()
    return [live_through(_read(file))]


def _show_shrunk(schedule: "Schedule", life: "Life") -> None:
    from vmha.sim.quiet import silence_logs
    from vmha.sim.shrink import shrink

    silence_logs()
    smaller, wrong = shrink(schedule, life)
    show(f"  {len(smaller.steps)} of its {len(schedule.steps)} steps suffice:")
    show([f"    {step.at:9.3f} {step}" for step in smaller.steps])
    show([f"    {line}" for line in wrong.what_is_wrong()])
    file = Path(f"vmha-sim-{schedule.seed}.json")
    _write(file, smaller)
    show(f"  replay them: vmha sim --schedule {file}")
