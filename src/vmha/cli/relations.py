"""Options of ``vmha vm add`` and ``edit`` about other vms: as one writes them on a command line."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from vmha.model.errors import Rejected

Exclusive = Annotated[
    bool | None, typer.Option("--exclusive/--not-exclusive", help="It wants its node for itself.", show_default=False)
]
ExclusiveRank = Annotated[
    int | None, typer.Option(help="Among exclusive vms: 1 is the most important, and may take a greater one's place.")
]
DependsOn = Annotated[
    list[str] | None,
    typer.Option(
        "--depends-on",
        metavar="VM[:hard|soft[+SECONDS]]",
        help="A vm that it needs, and for how long that is to be ready before; may be given several times.",
        show_default=False,
    ),
]

Autostart = Annotated[
    bool | None,
    typer.Option("--autostart/--no-autostart", help="Start it after the whole cluster was down.", show_default=False),
]

_NEED = re.compile(r"(?P<vm>.+?)(?::(?P<mode>hard|soft)(?:\+(?P<start_delay_s>\d+(?:\.\d+)?))?)?")


def relations(exclusive: bool | None, rank: int | None, depends_on: Sequence[str] | None) -> dict[str, Any]:
    """The fields of a vm that were given. An empty string alone takes all needs away.

    Raises:
        Rejected: a rank for a vm that is not to be exclusive; a need that can not be read.
    """
    fields: dict[str, Any] = {}
    if exclusive is False and rank is not None:
        raise Rejected("--not-exclusive and --exclusive-rank exclude each other", accepted="one of the two")
    if rank is not None or exclusive is not None:
        fields["exclusive"] = rank if rank is not None else int(bool(exclusive))
    if depends_on:
        fields["depends_on"] = [] if list(depends_on) == [""] else [_need(text) for text in depends_on]
    return fields


def _need(text: str) -> dict[str, Any]:
    found = _NEED.fullmatch(text.strip())
    if found is None:
        raise Rejected(f"--depends-on {text!r}: names no vm", accepted="VM, VM:hard, VM:soft, VM:hard+SECONDS")
    return {key: value for key, value in found.groupdict().items() if value is not None}
