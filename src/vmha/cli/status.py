"""``vmha status``: the whole cluster at a glance."""

from typing import Annotated

import typer

from vmha.cli.context import Json, place_of
from vmha.cli.status_view import show_status

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def status(
    ctx: typer.Context,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay, and show every change (Ctrl-C ends it).")] = False,
) -> None:
    """Show leader, nodes, vms, and what needs attention."""
    if watch:
        from vmha.cli.status_watch import watch_status

        watch_status(place_of(ctx), as_json=as_json)
    else:
        show_status(place_of(ctx), as_json=as_json)
