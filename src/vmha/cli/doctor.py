"""``vmha doctor``: what would be in the way of a start, a migration or a recovery, before one is needed."""

from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json, do
from vmha.cli.exits import ExitCode
from vmha.cli.output import screen, show, show_json, wrapped

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient
    from vmha.policy.doctor import Finding

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def doctor(
    ctx: typer.Context,
    timeout: Annotated[float, typer.Option(help="Seconds that every agent gets to look.", min=1.0, max=600.0)] = 15.0,
    as_json: Json = False,
) -> None:
    """Check the cluster: every pair of nodes, clocks, fencing, etcd, storage, what hosts keep; each finding's remedy.

    Needs nothing but etcd: the agents look, and answer there. Exit code 0: nothing was found; 1: something was.
    """
    from vmha.operator.doctor import as_plain, diagnose, sentences

    async def work(client: "OperatorClient") -> "tuple[Finding, ...]":
        return await diagnose(client, timeout_s=timeout)

    found = do(ctx, work)
    if as_json:
        show_json(as_plain(found))
    else:
        on = screen()
        show([piece for line in sentences(found) for piece in wrapped(line, on)])
    if found:
        raise typer.Exit(ExitCode.FAILED)
