"""``vmha events``: the journal, what happened and why."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json, do
from vmha.cli.output import screen, show_json, when

if TYPE_CHECKING:
    from vmha.model.records import JournalEntry
    from vmha.operator.client import OperatorClient

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def events(
    ctx: typer.Context,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Stay, and show what happens (Ctrl-C ends it).")
    ] = False,
    vm: Annotated[str | None, typer.Option(help="Only what concerns this vm.")] = None,
    node: Annotated[str | None, typer.Option(help="Only what concerns this node.")] = None,
    last: Annotated[int, typer.Option("--last", "-n", help="How many of the past ones; 0: all.", min=0)] = 50,
    as_json: Json = False,
) -> None:
    """Show what happened and why, oldest first. With -f --json: one object a line."""

    from vmha.operator.events import Wanted
    from vmha.operator.events import past as read_past

    wanted = Wanted(vm=vm, node=node)

    async def work(client: "OperatorClient") -> None:
        past, revision = await read_past(client, wanted, last=last)
        if as_json and not follow:
            show_json([asdict(entry) for entry in past])
            return
        for entry in past:
            _print(entry, as_json=as_json)
        if follow:
            async for entry in client.journal_follow(revision):
                if wanted(entry):
                    _print(entry, as_json=as_json)

    do(ctx, work)


def _print(entry: "JournalEntry", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(entry)), flush=True)
        return
    from vmha.operator.hand import until

    about = " ".join(filter(None, (entry.vm, entry.node)))
    on = screen()
    text = f"{entry.text}{until(entry.hand, when)}"
    print(f"{on.paint(when(entry.at), 'dim')}  {entry.kind:18}  {about + ': ' if about else ''}{text}", flush=True)
