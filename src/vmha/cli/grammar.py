"""The command line as data, for what is made of it: completion (cli/completing.py) and man pages (scripts/man.py).

Nothing here leans on how the command-line library keeps its own books: that differs from version to version.
"""

import inspect
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin


def is_group(command: Any) -> bool:
    return getattr(command, "commands", None) is not None


def first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def verbs_of(group: Any) -> Iterator[tuple[str, Any]]:
    """Each verb that is shown, with its command."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if command is not None and not getattr(command, "hidden", False):
            yield name, command


def declared_types(command: Any, name: str) -> list[type]:
    """What a parameter is declared as, from the verb's own function."""
    callback = command.callback
    declared = inspect.signature(inspect.unwrap(callback)).parameters.get(name) if callback else None
    return [kind for kind in _flat(declared.annotation) if isinstance(kind, type)] if declared else []


def _flat(annotation: Any) -> list[Any]:
    """``Annotated[list[Path] | None, ...]``: Path, None."""
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        parts = parts[:1]
    return [kind for part in parts for kind in _flat(part)] if parts else [annotation]
