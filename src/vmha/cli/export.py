"""``vmha export``: the cluster's definitions as a document for ``vmha apply``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import do

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def export(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to write it; standard output if left out.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="A backup for 'vmha restore': JSON, epochs and secrets included.")
    ] = False,
) -> None:
    """Write the cluster's definitions as a document. Applied to the same cluster it changes nothing."""
    if everything:
        _back_up(ctx, file)
        return
    from vmha.model.errors import Rejected
    from vmha.operator.export import export as export_document

    async def work(client: "OperatorClient") -> str:
        return export_document(await client.read())

    text = do(ctx, work)
    if file is None or str(file) == "-":
        print(text, end="")
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Rejected(f"export: {file}: {(error.strerror or str(error)).lower()}") from error


def _back_up(ctx: typer.Context, file: Path | None) -> None:
    import json
    from typing import Any

    from vmha.cli.files import write_private
    from vmha.operator.backup import back_up

    async def work(client: "OperatorClient") -> dict[str, Any]:
        return await back_up(client)

    text = json.dumps(do(ctx, work), indent=1, ensure_ascii=False)
    if file is None or str(file) == "-":
        print(text)
    else:
        write_private(file, text + "\n", what="export")
