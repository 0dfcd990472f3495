"""``vmha status``: the whole cluster at a glance."""

from typing import Annotated

import typer

from vmha.cli.chosen import Chosen
from vmha.cli.context import Json, place_of
from vmha.cli.status_view import show_status
from vmha.policy.telling.explain import VmState

app = typer.Typer(add_completion=False, rich_markup_mode=None)

OnNodes = Annotated[
    list[str] | None,
    typer.Option(
        "--node", metavar="NODE", help="Only this node, and the vms that are there; several times.", show_default=False
    ),
]
InStates = Annotated[
    list[VmState] | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help=f"Only vms in this state ({', '.join(VmState)}); several times.",
        show_default=False,
    ),
]
Every = Annotated[
    bool, typer.Option("--all", help="Every line also where a screen would only show what needs attention.")
]


def chosen_by(nodes: list[str] | None, states: list[VmState] | None, *, every: bool = False) -> Chosen:
    return Chosen(nodes=tuple(nodes or ()), states=tuple(map(str, states or ())), every=every)


@app.command()
def status(
    ctx: typer.Context,
    node: OnNodes = None,
    state: InStates = None,
    every: Every = False,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay, and show every change (Ctrl-C ends it).")] = False,
) -> None:
    """Show leader, nodes, vms, and what needs attention."""
    chosen = chosen_by(node, state, every=every)
    if watch:
        from vmha.cli.status_watch import watch_status

        watch_status(place_of(ctx), as_json=as_json, chosen=chosen)
    else:
        show_status(place_of(ctx), as_json=as_json, chosen=chosen)
