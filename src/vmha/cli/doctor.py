"""``vmha doctor``: what would be in the way of a start, a migration or a recovery, before one is needed."""

from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json, do
from vmha.cli.findings import tell

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient
    from vmha.policy.telling.doctor import Finding

AT_MOST = 5
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def doctor(
    ctx: typer.Context,
    timeout: Annotated[float, typer.Option(help="Seconds that every agent gets to look.", min=1.0, max=600.0)] = 15.0,
    every: Annotated[bool, typer.Option("--all", help=f"Every finding, not only {AT_MOST} of a kind.")] = False,
    fence: Annotated[
        bool | None,
        typer.Option("--fence/--no-fence", help="Ask the fence devices from here (default: where this is a node)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the cluster: every pair of nodes, clocks, fencing, etcd, storage, what hosts keep; each finding's remedy.

    Needs nothing but etcd: the agents look, and answer there. Fence devices are asked for their status from this host.
    Exit code 0: nothing was found; 1: something was.
    """
    from vmha.cli.connect import name_of_this_host
    from vmha.fencing.asking import ask_devices
    from vmha.operator.doctor import as_plain, diagnose, sentences

    devices = None if fence is False else ask_devices
    here = None if fence else name_of_this_host()

    async def work(client: "OperatorClient") -> "tuple[Finding, ...]":
        return await diagnose(client, timeout_s=timeout, ask_devices=devices, here=here)

    found = do(ctx, work)
    told = sentences(found, at_most=None if every else AT_MOST)
    tell(told, as_plain(found), as_json=as_json, is_fine=not found)
