"""``vmha config``: the settings of the cluster."""

from typing import TYPE_CHECKING, Any

import typer

from vmha.cli.context import Json, do
from vmha.cli.output import show, show_json

if TYPE_CHECKING:
    from vmha.model.settings import ClusterConfig
    from vmha.operator.client import OperatorClient

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Settings of the cluster.")

_WIDTH = 32


@app.callback()
def _group() -> None:
    """Settings of the cluster. They are changed by a document: vmha apply."""


@app.command("show")
def show_config(ctx: typer.Context, as_json: Json = False) -> None:
    """Show the settings in force, the timing profile's values spelled out."""

    async def work(client: "OperatorClient") -> "ClusterConfig":
        return (await client.read()).config

    config = do(ctx, work)
    if as_json:
        show_json({**config.model_dump(mode="json", by_alias=True), "timing_in_force": _timing(config)})
        return
    show(in_force(config))


def in_force(config: "ClusterConfig") -> "list[str]":
    """Every setting, a line each."""
    plain = config.model_dump(mode="json", by_alias=True, exclude={"schema_version", "profile", "timing", "hooks"})
    own = "" if config.timing is None else " (replaced by a timing of its own)"
    return [
        f"{'profile:':{_WIDTH}}{config.profile}{own}",
        *(f"{'timing.' + key + ':':{_WIDTH}}{value:g}" for key, value in _timing(config).items()),
        *_lines(plain),
        f"{'hooks:':{_WIDTH}}{', '.join(hook.name for hook in config.hooks) or '-'}",
    ]


def _timing(config: "ClusterConfig") -> "dict[str, Any]":
    return {**config.clockwork.model_dump(mode="json"), "dead_after_s": config.clockwork.dead_after_s}


def _lines(settings: "dict[str, Any]", within: str = "") -> "list[str]":
    lines: list[str] = []
    for key, value in settings.items():
        name = f"{within}{key}"
        if isinstance(value, dict) and value:
            lines += _lines(value, f"{name}.")
            continue
        lines.append(f"{name + ':':{_WIDTH}}{_shown(value)}")
    return lines


def _shown(value: "Any") -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value in (None, "", {}) else str(value)
