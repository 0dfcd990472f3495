"""``vmha plan``: what the leader would do now, or if something else were so. Changes nothing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json, do
from vmha.cli.output import screen, show, show_json, wrapped

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient
    from vmha.operator.forecast import Foretold

AT_MOST = 100
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def plan(
    ctx: typer.Context,
    supposed: Annotated[
        list[str] | None,
        typer.Option(
            "--if",
            metavar="WHAT",
            help="Suppose: 'node NAME lost', 'node NAME drained', 'node NAME undrained', 'vm NAME running', "
            "'vm NAME stopped', 'vm NAME disabled', 'any node lost'. Can be given several times.",
            show_default=False,
        ),
    ] = None,
    document: Annotated[
        Path | None,
        typer.Option("--with", metavar="FILE", help="Suppose that this document were applied; - reads standard input."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help=f"Every move, not only the first {AT_MOST}.")] = False,
    as_json: Json = False,
) -> None:
    """Tell what the leader would do, by its own rules, and write nothing.

    Starts and migrations are taken to succeed, and a lost node to be lost with proof. Exit code 1: a vm that is wanted
    running would not run.
    """

    from vmha.cli.files import read_document
    from vmha.operator import forecast
    from vmha.operator.apply import prepare

    loaded = read_document(document, what="plan --with") if document is not None else None

    async def work(client: "OperatorClient") -> "Foretold":
        if loaded is None:
            snapshot = await client.read()
        else:
            snapshot = await client.imagine([write.op for write in (await prepare(client, loaded)).writes])
        return forecast.tell(snapshot, supposed or (), wall=client.clock.wall())

    told = do(ctx, work)
    if as_json:
        show_json(forecast.as_plain(told))
    else:
        on = screen()
        lines = forecast.sentences(told, at_most=None if every else AT_MOST)
        show([piece for line in lines for piece in wrapped(line, on)])
    if not forecast.is_all_well(told):
        raise typer.Exit(1)
