"""``vmha rebalance``: full nodes are relieved by an operator's word, whatever hold time and windows say."""

from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json, Timeout, Wait, do
from vmha.cli.output import show, show_json

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient
    from vmha.policy.rebalance import Shift

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def rebalance() -> None:
    """Move vms from full nodes to emptier ones by live migration."""


@app.command()
def now(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would move.")] = False,
    wait: Wait = True,
    timeout: Timeout = 1200.0,
    as_json: Json = False,
) -> None:
    """Migrate vms from nodes above rebalance.threshold_percent to emptier ones, now.

    It does not wait for hold time or windows, and need not be enabled. Limits on migrations hold.
    """
    from dataclasses import asdict

    from vmha.operator.follow import request_ended
    from vmha.operator.rebalance import ask_for, find_shifts

    async def work(client: "OperatorClient") -> "tuple[list[Shift], list[str]]":
        from vmha.cli.waiting import wait_shown

        shifts = find_shifts(await client.read(), wall=client.clock.wall())
        if dry_run:
            return shifts, [f"{one.vm}: {one.source} to {one.target}: {one}" for one in shifts]
        asked = await ask_for(client, shifts)
        if not wait:
            return shifts, [f"{one.vm}: to {one.node} (request {one.id}); see: vmha requests" for one in asked]
        goals = [request_ended(client, one.id, vm=one.vm or "") for one in asked]
        return shifts, [await wait_shown(client, goal, timeout_s=timeout) for goal in goals]

    shifts, lines = do(ctx, work)
    if as_json:
        show_json([asdict(one) for one in shifts])
    else:
        show(lines or ["no node is so full, and another one so much emptier, that a vm would be moved"])
