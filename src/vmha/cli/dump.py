"""``vmha dump``: what the store holds of the cluster, and what this host has logged, in one file, without secrets."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmha.cli.context import do
from vmha.cli.output import in_lines

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def dump(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to write it; standard output if left out.")
    ] = None,
    with_host: Annotated[
        bool, typer.Option("--host/--no-host", help="Also this host's settings file, and its units' last lines.")
    ] = True,
    log: Annotated[list[Path] | None, typer.Option(help="Also the last lines of this file; may be repeated.")] = None,
) -> None:
    """Write all keys of the cluster as JSON, its journal and this host's logs included; secrets are taken out."""
    from vmha.cli.connect import settings_of
    from vmha.cli.files import write_private
    from vmha.operator.dump import dump as dump_all
    from vmha.operator.redaction import secrets_in_files

    settings = dict(settings_of(os.environ))
    files = _read(log or ())

    async def work(client: "OperatorClient") -> dict[str, Any]:
        host = await _host(settings) if with_host else {}
        if files:
            host["files"] = files
        return await dump_all(client, host=host or None, secrets=secrets_in_files(settings))

    text = in_lines(do(ctx, work))
    if file is None or str(file) == "-":
        print(text)
    else:
        write_private(file, text + "\n", what="dump")


async def _host(settings: dict[str, Any]) -> dict[str, Any]:
    from vmha.operator.host_logs import of_units

    return {"name": socket.gethostname(), "settings": settings, "logs": await of_units()}


def _read(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Raises: Rejected."""
    from vmha.model.errors import Rejected
    from vmha.operator.host_logs import of_file

    try:
        return {str(path): of_file(path) for path in paths}
    except OSError as error:
        raise Rejected(f"dump: --log {error.filename}: {(error.strerror or str(error)).lower()}") from error
