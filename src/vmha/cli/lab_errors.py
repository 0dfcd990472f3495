"""How verbs of the lab fail: one line on standard error, and the exit code of the error's family."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from vmha.cli.exits import ExitCode
from vmha.model.errors import NotThere, Refused, Rejected, VmhaError


@contextmanager
def plain_errors() -> Iterator[None]:
    """One line on standard error and the exit code of the family, instead of a traceback."""
    try:
        yield
    except NotThere as error:
        typer.echo(f"vmha lab: {error}", err=True)
        raise typer.Exit(ExitCode.UNKNOWN_NAME) from error
    except (Rejected, Refused) as error:
        typer.echo(f"vmha lab: {error}", err=True)
        raise typer.Exit(2) from error
    except (VmhaError, OSError) as error:
        typer.echo(f"vmha lab: {error}", err=True)
        raise typer.Exit(1) from error
