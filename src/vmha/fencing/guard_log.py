"""The guard's lines, in the form of the agent's log (node/logs.py): an object of JSON, or ``name=value``.

A line has ``timestamp``, ``level``, ``event`` (a constant) and what else there is to say, by name. What the guard does
at its deadline carries the cause that the leader's fencing of that session has, so that one search finds both.
Standard library only: the guard imports this.
"""

import contextlib
import json
import os
import select
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum

Log = Callable[..., None]
"""``log(event, level="info", **fields)``. Fields that are None or empty are left out."""

Field = str | int | float
LONGEST_VALUE = 1000
"""A line has to fit into a pipe at once (4096 bytes), or writing it could wait for whoever reads."""


class Form(StrEnum):
    JSON = "json"
    LOGFMT = "logfmt"


def form_of(value: object) -> Form:
    """Of the setting ``log_format``. What the agent would refuse is JSON here: no guard stays away for its log."""
    return Form.LOGFMT if value == Form.LOGFMT else Form.JSON


def cause_of_loss(node: str, session: str) -> str:
    """As ``policy/state/causes.py`` names the loss of that session; the guard imports nothing of it."""
    return f"lost-{node}-{session[-6:]}"


def logger(fd: int, form: Form) -> Log:
    """Onto ``fd``, as far as it takes a line at once: a full pipe would hold the guard up."""

    def log(event: str, *, level: str = "info", **fields: Field | None) -> None:
        line = render(event, fields, level=level, at=time.clock_gettime(time.CLOCK_REALTIME), form=form)
        with contextlib.suppress(OSError, ValueError):
            _, writable, _ = select.select([], [fd], [], 0)
            if writable:
                os.write(fd, line.encode(errors="replace") + b"\n")

    return log


def render(event: str, fields: Mapping[str, Field | None], *, level: str, at: float, form: Form) -> str:
    timestamp = datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
    said = {name: _shortened(value) for name, value in fields.items() if value not in (None, "")}
    first = {"timestamp": timestamp, "level": level, "event": event}
    if cause := said.pop("cause", None):
        first["cause"] = str(cause)
    line = {**first, **said}
    if form is Form.JSON:
        return json.dumps(line)
    return " ".join(f"{name}={_quoted(str(value))}" for name, value in line.items())


def _shortened(value: Field | None) -> Field | None:
    return value[:LONGEST_VALUE] if isinstance(value, str) else value


def _quoted(value: str) -> str:
    is_quoted = any(sign in value for sign in ' ="')
    if is_quoted:
        value = value.replace("\\", "\\\\")
    value = value.replace('"', '\\"').replace("\n", "\\n")
    return f'"{value}"' if is_quoted else value
