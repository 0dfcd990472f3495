"""``vmha hooks``: who is told what happened, how that goes, and trying one."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmha.cli.context import Json, do
from vmha.cli.output import screen, show, show_json, table, when

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Who is told what happened: list, test."
)


@app.command("list")
def list_hooks(ctx: typer.Context, as_json: Json = False) -> None:
    """List the hooks of the cluster's settings, and how far each has been told."""
    from vmha.operator.hooks import read_hooks

    async def work(client: "OperatorClient") -> list[dict[str, Any]]:
        return [
            {**hook.model_dump(mode="json", by_alias=True), "state": asdict(state) if state else None}
            for hook, state in await read_hooks(client)
        ]

    found = do(ctx, work)
    if as_json:
        show_json(found)
    elif not found:
        show("No hook yet: config.hooks of a document, see vmha apply")
    else:
        show(
            table(
                ("HOOK", "ON", "TELLS", "TOLD", "FAILED", "DROPPED", "LAST", "SAID"),
                [_row(hook) for hook in found],
                screen(),
            )
        )


def _row(hook: dict[str, Any]) -> tuple[str, ...]:
    state = hook["state"] or {}
    return (
        hook["name"],
        ",".join(hook["on"]),
        hook["webhook"] or " ".join([hook["exec"], *hook["arguments"]]),
        str(state.get("delivered", "-")),
        str(state.get("failed", "-")),
        str(state.get("dropped", "-")),
        when(state["last_at"]) if state.get("last_at") else "-",
        str(state.get("last_said") or "-"),
    )


@app.command("test")
def try_one(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The hook's name.")],
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds to wait for its answer.", min=1.0)] = 60.0,
) -> None:
    """Have the leader tell a hook an event of its own (hook-test), and show what it says."""
    from vmha.operator.hooks import try_hook

    said = do(ctx, lambda client: try_hook(client, name, timeout_s=timeout_s))
    show(f"{name} was told: {said}")


@app.command("events")
def events(as_json: Json = False) -> None:
    """List the events that a hook may want."""
    from vmha.model.hooks import EVENTS

    known = sorted({(name, kind) for kind, name in EVENTS.items()})
    if as_json:
        show_json([{"event": name, "kind": kind} for name, kind in known])
    else:
        show(table(("EVENT", "KIND IN THE JOURNAL"), known, screen()))
