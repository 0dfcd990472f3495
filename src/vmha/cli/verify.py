"""``vmha verify``: is it so that no vm runs twice? By what every host's own libvirt says."""

from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json, do
from vmha.cli.findings import tell

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient
    from vmha.policy.telling.verify import Verified

AT_MOST = 20
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def verify(
    ctx: typer.Context,
    timeout: Annotated[float, typer.Option(help="Seconds that every agent gets to look.", min=1.0, max=600.0)] = 10.0,
    every: Annotated[bool, typer.Option("--all", help=f"Every vm and node, not only {AT_MOST} of a kind.")] = False,
    as_json: Json = False,
) -> None:
    """Ask every host's libvirt what it runs, and verify that each vm runs once, where it is on record, or nowhere.

    Exit code 0: verified for every vm. 1: it is not so, or a host that may run something did not answer.
    """
    from vmha.operator.verify import as_plain, sentences
    from vmha.operator.verify import verify as look

    async def work(client: "OperatorClient") -> "Verified":
        return await look(client, timeout_s=timeout)

    found = do(ctx, work)
    tell(
        sentences(found, at_most=None if every else AT_MOST), as_plain(found), as_json=as_json, is_fine=found.is_proven
    )
