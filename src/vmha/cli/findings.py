"""Verbs that look at the whole cluster: what they found, for people or as JSON, and whether it is fine as exit code."""

from collections.abc import Sequence
from typing import Any

import typer

from vmha.cli.exits import ExitCode
from vmha.cli.output import screen, show, show_json, wrapped


def tell(sentences: Sequence[str], plain: Any, *, as_json: bool, is_fine: bool) -> None:
    """Raises: typer.Exit: with 1, where something is not as it should be."""
    if as_json:
        show_json(plain)
    else:
        on = screen()
        show([piece for line in sentences for piece in wrapped(line, on)])
    if not is_fine:
        raise typer.Exit(ExitCode.FAILED)
