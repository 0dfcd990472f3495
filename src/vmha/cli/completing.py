"""What may come next on a command line: verbs, options, words of a closed list, and names out of the live cluster.

The shells' own scripts (``vmha completion bash|zsh|fish``) ask by running ``vmha`` with ``$_VMHA_COMPLETE`` set and the
words so far as its arguments, the last one unfinished. The first line of the answer is ``files`` (the shell is to offer
those) or ``words``; each line after it is a word, a tab, and what the word means.

It is asked at the touch of a key: it says nothing when the cluster does not answer within a moment, and never why.
"""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from vmha.cli.grammar import declared_types, first_line, is_group
from vmha.model.errors import VmhaError

PATIENCE_S = 1.0
_GROUPS = {"vm": "vms", "node": "nodes", "service": "services", "rule": "rules", "domain": "domains"}
"""Where the argument ``name`` of a group's verbs is looked for: the part of the key tree."""
_OPTIONS = {
    "--to": "nodes",
    "--on": "nodes",
    "--node": "nodes",
    "--vm": "vms",
    "--failover-domain": "domains",
    "--depends-on": "vms",
}
_ARGUMENTS = {("failback", "vms"): "vms"}


@dataclass(slots=True)
class _Line:
    """Where the words so far have led."""

    command: Any
    path: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)  # of the global options
    position: int = 0  # of the next argument
    pending: Any = None  # the option whose value comes next
    is_foreign: bool = False  # behind --: another program's


def answer(words: Sequence[str]) -> int:
    """Prints what may stand where the last word is. The exit code is 0, whatever happened."""
    kind, found = "words", list[tuple[str, str]]()
    with suppress(Exception):  # a shell that waits for a key's effect is no place for our errors
        kind, found = complete(list(words))
    sys.stdout.write("\n".join([kind, *(f"{word}\t{' '.join(text.split())}" for word, text in found)]) + "\n")
    return 0


def complete(words: list[str]) -> tuple[str, list[tuple[str, str]]]:
    """The kind of the answer, and the words with their meaning."""
    import typer

    from vmha.cli.root import app

    *before, last = words or [""]
    root = typer.main.get_command(app)
    line = _follow(root, before)
    if line.is_foreign:
        return "files", []
    name, is_joined, value = last.partition("=")
    if is_joined and name.startswith("--"):
        option = _find_option(line.command, root, name)
        kind, found = _values(option, line, value) if option else ("words", [])
        return kind, [(f"{name}={word}", text) for word, text in found]
    if line.pending is not None:
        return _values(line.pending, line, last)
    if last.startswith("-"):
        return "words", _options(line.command, root, last)
    if is_group(line.command):
        return "words", _verbs(line.command, last)
    if (argument := _argument(line)) is not None:
        return _values(argument, line, last)
    return "words", []


def _follow(root: Any, words: list[str]) -> _Line:
    line = _Line(command=root)
    for word in words:
        if line.pending is not None:
            _take(line, line.pending.opts[0], word)
            line.pending = None
        elif word == "--":
            line.is_foreign = True
            break
        elif word.startswith("-") and word != "-":
            name, is_joined, value = word.partition("=")
            option = _find_option(line.command, root, name)
            if is_joined:
                _take(line, name, value)
            elif option is not None and not option.is_flag and not getattr(option, "count", False):
                line.pending = option
        elif is_group(line.command):
            found = line.command.get_command(None, word)
            if found is None:
                line.is_foreign = True  # a verb that does not exist: nothing can follow it
                break
            line.command = found
            line.path.append(word)
        else:
            line.position += 1
    return line


def _take(line: _Line, name: str, value: str) -> None:
    line.values[name] = value


def _find_option(command: Any, root: Any, name: str) -> Any:
    for param in (*command.params, *root.params):
        if name in (*param.opts, *param.secondary_opts):
            return param
    return None


def _verbs(group: Any, last: str) -> list[tuple[str, str]]:
    """At the top, where a verb's meaning would cost the import of its module, without it."""
    names = [name for name in group.list_commands(None) if name.startswith(last)]
    return [(name, first_line(getattr(group.commands.get(name), "help", ""))) for name in names]


def _options(command: Any, root: Any, last: str) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for param in (*command.params, *root.params):
        if param.param_type_name == "option" and not getattr(param, "hidden", False):
            for name in (*param.opts, *param.secondary_opts):
                if name.startswith("--"):
                    found.setdefault(name, first_line(getattr(param, "help", "")))
    found.setdefault("--help", "Show this message and exit.")
    return sorted((name, text) for name, text in found.items() if name.startswith(last))


def _argument(line: _Line) -> Any:
    arguments = [param for param in line.command.params if param.param_type_name == "argument"]
    if line.position < len(arguments):
        return arguments[line.position]
    return arguments[-1] if arguments and arguments[-1].nargs == -1 else None


def _values(param: Any, line: _Line, last: str) -> tuple[str, list[tuple[str, str]]]:
    kinds = declared_types(line.command, param.name)
    if enum := next((kind for kind in kinds if issubclass(kind, Enum)), None):
        return "words", [(str(one.value), "") for one in enum if str(one.value).startswith(last)]
    if Path in kinds:
        return "files", []
    where = _where(param, line)
    return "words", [(name, "") for name in asyncio.run(_names(where, last, line.values))] if where else []


def _where(param: Any, line: _Line) -> str:
    """Which names of the cluster a parameter takes; empty: none."""
    if param.param_type_name == "option":
        return next((_OPTIONS[name] for name in param.opts if name in _OPTIONS), "")
    group = line.path[0] if line.path else ""
    if line.path[1:2] == ["add"]:
        return ""  # a name that does not exist yet
    return _GROUPS.get(group, "") if param.name == "name" else _ARGUMENTS.get((group, param.name), "")


async def _names(where: str, start: str, values: dict[str, str]) -> list[str]:
    from vmha.cli.connect import find_place, open_store
    from vmha.model.keys import Keys, split_key

    place = find_place(endpoints=values.get("--endpoints"), cluster=values.get("--cluster"))
    prefix = Keys(place.cluster).prefix
    found = set()
    store = open_store(place)
    try:
        with suppress(VmhaError, TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                listing = await store.list(f"{prefix}{where}/{start}", timeout_s=PATIENCE_S)
                for kv in listing.items:
                    _, name, *rest = split_key(prefix, kv.key)
                    if where != "vms" or rest == ["spec"]:  # a vm that was removed may leave other keys for a while
                        found.add(name)
    finally:
        await store.close()
    return sorted(found)
