"""The answers an operator gets when something can not be done, told apart so that a program can tell them apart too."""

import difflib
from collections.abc import Iterable

from vmha.model.errors import NotThere, Rejected, VmhaError
from vmha.model.records import Candidate


class UnknownName(NotThere):
    """Nothing of that kind has that name. The message names the near ones, as ``near`` does (or some)."""

    def __init__(self, message: str, *, kind: str, name: str, near: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.kind, self.name, self.near = kind, name, tuple(near)


class RefusedByCluster(Rejected):
    """Well formed, and the cluster as it stands can not do it. ``candidates`` hold what each node said."""

    def __init__(self, message: str, *, candidates: tuple[Candidate, ...] = ()) -> None:
        super().__init__(message)
        self.candidates = candidates


class OperationFailed(VmhaError):
    """The operation began and did not succeed."""


class TimedOut(VmhaError):
    """Nobody waits any longer. What was asked for stands, and goes on."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """One line: what is unknown, and the near names, or all of them when none is near and there are few."""
    names = sorted(set(known))
    near = _nearest(name, names)
    if near:
        message = f"there is no {kind} {name!r}: did you mean {' or '.join(near)}?"
        return UnknownName(message, kind=kind, name=name, near=near)
    if not names:
        return UnknownName(f"there is no {kind} {name!r}: there is no {kind} at all", kind=kind, name=name)
    few = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return UnknownName(f"there is no {kind} {name!r}: there are {few}", kind=kind, name=name, near=names[:8])


def _nearest(name: str, names: list[str]) -> list[str]:
    """Three at most; those that are as near as each other by name, from h1 on."""
    near = difflib.get_close_matches(name, names, n=max(len(names), 1), cutoff=0.5)
    return sorted(near, key=lambda one: (-difflib.SequenceMatcher(None, one, name).ratio(), one))[:3]
