"""``--probe`` of ``vmha vm add`` and ``edit``: one probe a time, on one line, as a definition has it."""

import shlex
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from vmha.model.document import what_is_wrong
from vmha.model.errors import Rejected
from vmha.model.health import Probe, ProbeKind

ProbeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--probe",
        metavar="[FIELD=VALUE ...] KIND [WHAT]",
        help="command PROGRAM ARGS, tcp HOST:PORT, http URL or agent, after fields such as interval_s=5 "
        "start_gate=true; may be given several times; an empty string takes them all away.",
        show_default=False,
    ),
]

_FIELDS = tuple(name for name in Probe.model_fields if name not in tuple(ProbeKind))
_SHAPE = "[FIELD=VALUE ...] then command PROGRAM ARGS, tcp HOST:PORT, http URL, or agent"


def probes(given: Sequence[str] | None) -> dict[str, Any]:
    """The field of a vm, if it was given.

    Raises:
        Rejected: naming the probe, the field and what is accepted.
    """
    if not given:
        return {}
    if list(given) == [""]:
        return {"probes": ()}
    return {"probes": tuple(_probe(text) for text in given)}


def _probe(text: str) -> Probe:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Rejected(f"--probe {text!r}: {error}", accepted=_SHAPE) from error
    fields: dict[str, Any] = {}
    while words and "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        if name not in _FIELDS:
            raise Rejected(f"--probe {text!r}: {name!r} is no field", accepted=", ".join(_FIELDS))
        fields[name] = value
    kind, what = (words[0], words[1:]) if words else ("", [])
    match kind, what:
        case ProbeKind.COMMAND, [_, *_]:
            fields["command"] = what
        case ProbeKind.TCP | ProbeKind.HTTP, [address]:
            fields[kind] = address
        case ProbeKind.AGENT, []:
            fields["agent"] = True
        case _:
            raise Rejected(f"--probe {text!r}: can not be read", accepted=_SHAPE)
    try:
        return Probe.model_validate(fields)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in found["loc"])
        raise Rejected(f"--probe {text!r}: {f'{place}: ' if place else ''}{what_is_wrong(found)}") from error
