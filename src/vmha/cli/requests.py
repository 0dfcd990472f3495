"""``vmha requests``: operations asked for, and how far they are."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from vmha.cli.context import Json, do
from vmha.cli.output import screen, show, show_json, table, when

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def requests(ctx: typer.Context, as_json: Json = False) -> None:
    """List the operations asked for, newest last, with their outcomes. They are kept for an hour after their end."""

    async def work(client: "OperatorClient") -> list[dict[str, Any]]:
        snapshot = await client.read()
        found = []
        for name, request in sorted(snapshot.requests.items()):
            outcome = snapshot.outcomes.get(name)
            found.append({**asdict(request), "outcome": asdict(outcome) if outcome else None})
        return found

    found = do(ctx, work)
    if as_json:
        show_json(found)
        return
    rows = [
        (
            when(request["asked_at"]),
            request["verb"],
            request["vm"] or "-",
            request["node"] or "-",
            request["author"],
            request["outcome"]["progress"] if request["outcome"] else "asked",
            request["outcome"]["text"] if request["outcome"] else "",
        )
        for request in found
    ]
    show(table(("ASKED", "VERB", "VM", "NODE", "BY", "PROGRESS", "OUTCOME"), rows, screen()) if rows else "None.")
