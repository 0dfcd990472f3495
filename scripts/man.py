"""Writes man pages from the command line itself: ``python scripts/man.py DIRECTORY``, one for each verb, and vmha(1).

A page of a group (``vmha vm``) holds all its verbs. They are made where they are wanted, and not kept.
"""

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from vmha import __version__
from vmha.cli.exits import ExitCode
from vmha.cli.grammar import declared_types, first_line, is_group, verbs_of
from vmha.cli.root import app

ENVIRONMENT = {
    "VMHA_ENDPOINTS": "etcd members, host:port,host:port,...; as --endpoints.",
    "VMHA_CLUSTER": "Name of the cluster; as --cluster.",
    "VMHA_CONFIG": "The node's settings file, where it is another than /etc/vmha/vmha.toml.",
    "VMHA_CA, VMHA_CERT, VMHA_KEY": "Files for TLS to etcd.",
    "VMHA_ETCD_USER, VMHA_ETCD_PASSWORD_FILE": "A user of etcd, and the file with the password.",
    "VMHA_LAB": "The directory of a lab on this machine, whose cluster is meant then.",
    "NO_COLOR": "Set to anything: no colours.",
}


def pages() -> dict[str, str]:
    """File name to page."""
    root = typer.main.get_command(app)
    verbs = dict(verbs_of(root))
    found = {"vmha.1": "\n".join(_main(root, verbs)) + "\n"}
    for name, command in verbs.items():
        found[f"vmha-{name}.1"] = "\n".join(_of_verb(name, command)) + "\n"
    return found


def _main(root: Any, verbs: dict[str, Any]) -> Iterator[str]:
    yield from _title("vmha", "high availability for libvirt/QEMU virtual machines")
    yield from (".SH SYNOPSIS", r".B vmha", r"[\fIOPTION\fR]... \fIVERB\fR [\fIARGUMENT\fR]...")
    yield from (".SH DESCRIPTION", *_text(root.help))
    yield ".SH VERBS"
    for name, command in verbs.items():
        yield from (".TP", rf"\fB{_escape(name)}\fR", _escape(first_line(command.help)))
    yield from (".SH OPTIONS", "They may stand anywhere on the line.")
    yield from _options(root)
    yield ".SH ENVIRONMENT"
    for name, text in ENVIRONMENT.items():
        yield from (".TP", rf"\fB{_escape(name)}\fR", _escape(text))
    yield from (".SH FILES", ".TP", r"\fI/etc/vmha/vmha.toml\fR", "The settings of this node.")
    yield ".SH EXIT STATUS"
    for code in ExitCode:
        yield from (".TP", rf"\fB{code.value}\fR", _escape(code.name.lower().replace("_", " ")))
    yield from (".SH SEE ALSO", ", ".join(rf"\fBvmha\-{_escape(name)}\fR(1)" for name in verbs))


def _of_verb(name: str, command: Any) -> Iterator[str]:
    yield from _title(f"vmha-{name}", first_line(command.help).rstrip("."))
    yield ".SH SYNOPSIS"
    leaves = list(verbs_of(command)) if is_group(command) else []
    for at, (verb, leaf) in enumerate(leaves or [("", command)]):
        if at:
            yield ".br"
        yield _synopsis(" ".join(filter(None, ("vmha", name, verb))), leaf)
    yield from (".SH DESCRIPTION", *_text(command.help))
    if leaves:
        yield ".SH VERBS"
        for verb, leaf in leaves:
            yield from (f".SS {_escape(_synopsis_plain(verb, leaf))}", *_text(leaf.help), *_options(leaf))
    else:
        yield from (".SH OPTIONS", *_options(command))
    yield from (".SH SEE ALSO", r"\fBvmha\fR(1)")


def _title(name: str, what: str) -> Iterator[str]:
    yield f'.TH {name.upper()} 1 "" "vmha {__version__}" "vmha"'
    yield from (".SH NAME", rf"{_escape(name)} \- {_escape(what[:1].lower() + what[1:])}")


def _synopsis(words: str, command: Any) -> str:
    arguments = "".join(rf" \fI{_escape(_shape(one))}\fR" for one in _arguments(command))
    return rf"\fB{_escape(words)}\fR [\fIOPTION\fR]...{arguments}"


def _synopsis_plain(verb: str, command: Any) -> str:
    return " ".join([verb, *map(_shape, _arguments(command))])


def _arguments(command: Any) -> list[Any]:
    return [param for param in command.params if param.param_type_name == "argument"]


def _shape(argument: Any) -> str:
    name = (argument.metavar or argument.name.upper()).replace("...", "").strip("[]")
    name += "..." if argument.nargs == -1 else ""
    return name if argument.required else f"[{name}]"


def _options(command: Any) -> Iterator[str]:
    for param in command.params:
        if getattr(param, "hidden", False):
            continue
        if param.param_type_name == "argument":
            if param.help:
                yield from (".TP", rf"\fI{_escape(_shape(param))}\fR", _escape(param.help))
            continue
        names = ", ".join(rf"\fB{_escape(name)}\fR" for name in (*param.opts, *param.secondary_opts))
        value = "" if param.is_flag else rf" \fI{_escape(_value(command, param))}\fR"
        yield from (".TP", names + value, _escape(param.help or "(no description)"))
    yield from (".TP", r"\fB\-\-help\fR", "Show a short help and exit.")


def _value(command: Any, param: Any) -> str:
    kinds = declared_types(command, param.name)
    for kind in kinds:
        if issubclass(kind, Enum):
            return "|".join(str(one.value) for one in kind)
    if param.metavar:
        return str(param.metavar)
    if Path in kinds:
        return "FILE"
    return "NUMBER" if int in kinds or float in kinds else "TEXT"


def _text(text: str | None) -> Iterator[str]:
    for at, paragraph in enumerate((text or "").strip().split("\n\n")):
        if at:
            yield ".PP"
        yield _escape(" ".join(paragraph.split()))


def _escape(text: str) -> str:
    """What roff would take for its own."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return r"\&" + text if text.startswith((".", "'")) else text


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/man.py DIRECTORY")
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for page, text in pages().items():
        (directory / page).write_text(text)
