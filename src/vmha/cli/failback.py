"""``vmha failback``: vms go home by an operator's word, whatever delay, windows and nofailback say."""

from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json, Timeout, Wait, do
from vmha.cli.output import show, show_json

if TYPE_CHECKING:
    from vmha.model.records import Request
    from vmha.operator.client import OperatorClient

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def failback() -> None:
    """Bring vms home by live migration."""


@app.command()
def now(
    ctx: typer.Context,
    vms: Annotated[
        list[str] | None, typer.Argument(metavar="VM", help="Only these; all that are not at home if left out.")
    ] = None,
    wait: Wait = True,
    timeout: Timeout = 1200.0,
    as_json: Json = False,
) -> None:
    """Migrate vms that run on a less preferred node of their failover domain home, now.

    It does not wait for delay or windows, and nofailback does not keep them. Limits on migrations hold.
    """
    from dataclasses import asdict

    from vmha.operator.failback import bring_home
    from vmha.operator.follow import request_ended

    async def work(client: "OperatorClient") -> "tuple[list[Request], list[str]]":
        from vmha.cli.waiting import wait_shown

        asked = await bring_home(client, vms or [])
        if not wait:
            return asked, [f"{one.vm}: to {one.node} (request {one.id}); see: vmha requests" for one in asked]
        goals = [(one, request_ended(client, one.id, vm=one.vm or "")) for one in asked]
        return asked, [await wait_shown(client, goal, timeout_s=timeout) for _, goal in goals]

    asked, lines = do(ctx, work)
    if as_json:
        show_json([asdict(one) for one in asked])
    else:
        show(lines or ["every vm is at home, or no more preferred node can take it now (vmha vm why NAME)"])
