"""An operation: what is done about one cause. Each line that is logged within it carries the cause; so does its span.

The cause is the journal's (state/causes.py): a function of what was read, so that all nodes find the same one and
nothing has to be passed round for their lines, and their spans, to belong together. Without a tracer (``trace_with``),
which is how an agent comes, there are no spans, and nothing is paid for them but a look at a variable.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol

import structlog


class Tracer(Protocol):
    """Where spans go. Never blocks, never raises."""

    def span(self, name: str, cause: str, about: dict[str, str]) -> AbstractContextManager[None]: ...

    def past(self, name: str, cause: str, about: dict[str, str], ago_s: float) -> None: ...


_tracer: Tracer | None = None
_cause: ContextVar[str] = ContextVar("vmha_cause", default="")


def trace_with(tracer: Tracer | None) -> None:
    """From now on, in this process. None: not at all."""
    global _tracer  # noqa: PLW0603 (as the log is: one a process)
    _tracer = tracer


def cause_now() -> str:
    """Of the operation around it; empty outside of one."""
    return _cause.get()


def is_traced() -> bool:
    return _tracer is not None


@contextmanager
def operation(name: str, cause: str, **about: str | None) -> Iterator[None]:
    """``cause`` empty: that of the operation around it, if there is one. ``about``: the vm, the node."""
    cause = cause or _cause.get()
    if not cause:
        yield
        return
    token = _cause.set(cause)
    try:
        with structlog.contextvars.bound_contextvars(cause=cause), _span(name, cause, about):
            yield
    finally:
        _cause.reset(token)


def part(name: str) -> AbstractContextManager[None]:
    """A part of the operation that takes time of its own."""
    cause = _cause.get()
    return _span(name, cause, {}) if cause else nullcontext()


def past(name: str, cause: str, ago_s: float, **about: str | None) -> None:
    """What began ``ago_s`` ago and is over now: it was known to be part of an operation only at its end."""
    if _tracer and cause:
        _tracer.past(name, cause, _known(about), ago_s)


def _span(name: str, cause: str, about: dict[str, str | None]) -> AbstractContextManager[None]:
    return _tracer.span(name, cause, _known(about)) if _tracer else nullcontext()


def _known(about: dict[str, str | None]) -> dict[str, str]:
    return {key: str(value) for key, value in about.items() if value}
