"""The log of agent and dashboard: a line for each thing, on standard error, for journald and for people.

Each line has its fields by name, in one of two forms: an object of JSON, or ``name=value``. Lines of one operation
carry its cause, on all nodes the same (tracing/operation.py).
"""

import logging
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import Processor

from vmha.model.errors import Rejected
from vmha.node.beside import Beside

LEVELS = ("debug", "info", "warning", "error")
FORMS = ("json", "logfmt")
_FIRST = ("timestamp", "level", "event", "cause")


def set_up_logging(level: str, form: str = "json") -> None:
    """From now on, in this process. Raises: Rejected."""
    for field, given, accepted in (("log_level", level, LEVELS), ("log_format", form, FORMS)):
        if given not in accepted:
            raise Rejected(f"{field}: {given!r}", accepted=", ".join(accepted))
    structlog.configure(
        processors=processors(form),
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(_stream()),
        cache_logger_on_first_use=True,
    )


def _stream() -> TextIO:
    try:
        return cast(TextIO, Beside(sys.stderr.fileno(), tell_lost=_tell_lost))
    except (OSError, AttributeError):
        return sys.stderr  # none of the system's: closed, or a test's


def _tell_lost(lines: int) -> None:
    structlog.get_logger(__name__).warning("lines of the log were left out: they found no room", lines=lines)


def processors(form: str) -> list[Processor]:
    last: Processor = structlog.processors.JSONRenderer()
    if form == "logfmt":
        last = structlog.processors.LogfmtRenderer(key_order=_FIRST, drop_missing=True)
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        last,
    ]
