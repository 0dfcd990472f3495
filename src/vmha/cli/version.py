"""``vmha version``."""

import sys

import typer

from vmha import __version__
from vmha.cli.context import Json
from vmha.cli.output import show_json

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def version(as_json: Json = False) -> None:
    """Show the version of vmha."""
    python = ".".join(map(str, sys.version_info[:3]))
    if as_json:
        show_json({"vmha": __version__, "python": python})
    else:
        print(f"vmha {__version__} (Python {python})")
