"""``vmha sim``: many random lives of a simulated cluster, every fault at any time, and what the invariants say.

Exit codes: 0 every seed is good; 1 at least one is not, and the line that replays it is printed; 2 impossible options.
"""

from typing import Annotated

import typer

from vmha.cli.exits import ExitCode
from vmha.cli.output import show, show_json

app = typer.Typer()

_LAST_LINES = 15


@app.command()
def sim(
    seeds: Annotated[int, typer.Option(min=1, help="How many lives.")] = 20,
    first_seed: Annotated[int, typer.Option(min=0, help="The first seed; the others follow.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, max=32, help="Hosts of each cluster.")] = 3,
    vms: Annotated[int, typer.Option(min=1, max=200, help="Vms of each cluster.")] = 4,
    steps: Annotated[int, typer.Option(min=0, max=100_000, help="Faults and operations in each life.")] = 40,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Processes to share the seeds.")] = 1,
    trace: Annotated[bool, typer.Option("--trace", help="Print everything that happened, not only breaches.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Random faults on simulated hosts, then healing: never two at any instant, and everything runs again."""
    from vmha.sim.chaos import Life, Options
    from vmha.sim.lives import as_plain, live_all, replay_command, trace_of

    options = Options(nodes=nodes, vms=vms, steps=steps)
    bad: list[Life] = []
    simulated_s = 0.0
    plain = []
    for life in live_all(range(first_seed, first_seed + seeds), options, jobs=jobs):
        simulated_s += life.simulated_s
        if not life.is_good:
            bad.append(life)
        if json:
            plain.append(as_plain(life))
            continue
        if trace:
            show(trace_of(life))
        if not life.is_good:
            show([f"seed {life.seed} breaks an invariant:", *(f"  {line}" for line in life.what_is_wrong())])
            show([f"  ... {line}" for line in trace_of(life)[-_LAST_LINES:]])
            show(f"  replay: {replay_command(life.seed, options)}")
    if json:
        show_json({"seeds": seeds, "good": seeds - len(bad), "simulated_s": round(simulated_s, 3), "lives": plain})
    else:
        show(f"{seeds} seeds, {seeds - len(bad)} good, {len(bad)} bad; {simulated_s / 3600:.1f} hours simulated")
    if bad:
        raise typer.Exit(ExitCode.FAILED)
