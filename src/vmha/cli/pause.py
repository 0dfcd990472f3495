"""``vmha pause``: hands off the whole cluster."""

from typing import Annotated

import typer

from vmha.cli.context import do
from vmha.cli.output import show
from vmha.cli.vm_freeze import For, for_how_long, seconds
from vmha.model.holds import PauseMode

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_WHAT = {
    PauseMode.STARTS: "nothing is started but what ends where it runs",
    PauseMode.ALL: "nothing is started, stopped, moved, recovered or fenced; what runs is watched",
}


@app.command()
def pause(
    ctx: typer.Context,
    reason: Annotated[
        str,
        typer.Option(
            "--reason", "--why", help="Why; shown to everybody, and to whoever is refused.", show_default=False
        ),
    ],
    mode: Annotated[
        PauseMode, typer.Option(help="starts: start nothing; all: decide nothing, track what runs.")
    ] = PauseMode.STARTS,
    for_time: For = None,
) -> None:
    """Pause the cluster, until vmha resume or for a while. Node leases, guards and guests go on as ever."""
    from vmha.operator.holds import pause as pause_cluster

    for_s = seconds(for_time)
    do(ctx, lambda client: pause_cluster(client, mode, reason=reason, for_s=for_s))
    show(f"paused{for_how_long(for_s)}: {_WHAT[mode]}; lift it with: vmha resume")
