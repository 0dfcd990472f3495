"""``vmha dump``: everything that the store holds of the cluster, in one file, without secrets."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmha.cli.context import do

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def dump(
    ctx: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="Where to write it; standard output if left out.")] = None,
) -> None:
    """Write all keys of the cluster as JSON, the journal included; passwords are taken out."""
    from vmha.cli.files import write_private
    from vmha.operator.dump import dump as dump_all

    async def work(client: "OperatorClient") -> dict[str, Any]:
        return await dump_all(client)

    text = json.dumps(do(ctx, work), indent=1, ensure_ascii=False)
    if file is None or str(file) == "-":
        print(text)
    else:
        write_private(file, text + "\n", what="dump")
