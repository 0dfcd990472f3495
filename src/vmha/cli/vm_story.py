"""``vmha vm story``: a vm's history as sentences, one cause chained to the next."""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json, VmArgument, do
from vmha.cli.output import screen, show, show_json, when, wrapped

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient
    from vmha.policy.telling.story import Chapter


def story(
    ctx: typer.Context,
    name: VmArgument,
    since: Annotated[
        str | None,
        typer.Option(help="Only what was not over by then: a time back from now (2h, 3d), or a local time (10:00)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell what happened to it and what each thing came of, as far back as the journal reaches."""
    from vmha.operator.story import as_plain, sentences
    from vmha.operator.story import story as read

    async def work(client: "OperatorClient") -> "tuple[Chapter, ...]":
        return await read(client, name, since=_when(since, client.clock.wall()) if since else 0.0)

    told = do(ctx, work)
    if as_json:
        show_json(as_plain(told))
        return
    on = screen()
    lines = sentences(told, when)
    if not lines:
        show(f"The journal tells nothing of {name}{' since then' if since else ''}.")
    for at, text in lines:
        margin = len(when(at)) + 2
        first, *rest = wrapped(text, replace(on, width=on.width - margin if on.width else None))
        show([f"{on.paint(when(at), 'dim')}  {first}", *(f"{'':{margin}}{piece}" for piece in rest)])


def _when(text: str, wall: float) -> float:
    """Raises: Rejected: it is neither a duration nor a time."""
    from vmha.cli.durations import read_duration
    from vmha.model.errors import Rejected

    now = datetime.fromtimestamp(wall)
    for shape in ("%H:%M:%S", "%H:%M"):
        try:
            at = datetime.strptime(text, shape)
        except ValueError:
            continue
        today = now.replace(hour=at.hour, minute=at.minute, second=at.second, microsecond=0)
        return today.timestamp() if today <= now else today.timestamp() - 86400
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        pass
    try:
        return wall - read_duration(text, option="--since")
    except Rejected as error:
        accepted = "a time back from now such as 90s, 2h or 3d, or a local time such as 10:00 or 2026-01-31T10:00"
        raise Rejected(f"--since {text}", accepted=accepted) from error
