"""``vmha config``: the settings of the cluster."""

from typing import TYPE_CHECKING

import typer

from vmha.cli.context import Json, do
from vmha.cli.output import show, show_json

if TYPE_CHECKING:
    from vmha.model.settings import ClusterConfig
    from vmha.operator.client import OperatorClient

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Settings of the cluster.")


@app.callback()
def _group() -> None:
    """Settings of the cluster. They are changed by a document: vmha apply."""


@app.command("show")
def show_config(ctx: typer.Context, as_json: Json = False) -> None:
    """Show the settings in force, the timing profile's values spelled out."""

    async def work(client: "OperatorClient") -> "ClusterConfig":
        return (await client.read()).config

    config = do(ctx, work)
    plain = config.model_dump(mode="json", by_alias=True)
    timing = {**config.clockwork.model_dump(mode="json"), "dead_after_s": config.clockwork.dead_after_s}
    if as_json:
        show_json({**plain, "timing_in_force": timing})
        return
    own = "" if config.timing is None else " (replaced by a timing of its own)"
    lines = [f"{'profile:':28}{config.profile}{own}"]
    lines += [f"{'timing.' + key + ':':28}{value:g}" for key, value in timing.items()]
    for part in ("fencing", "limits"):
        for key, value in plain[part].items():
            lines.append(f"{f'{part}.{key}:':28}{', '.join(value) if isinstance(value, list) else value}")
    lines.append(f"{'journal_days:':28}{config.journal_days}")
    show(lines)
