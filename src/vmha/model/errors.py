"""Errors in four families, so that every caller knows what to do without reading a message.

``Retryable``: nothing is known to be wrong with the request; try again after ``retry_after_s``.
``Refused``: a precondition was lost; read again and decide again.
``Rejected``: the request itself is impossible; tell the operator.
``Broken``: an invariant does not hold; stop loudly.
"""


class VmhaError(Exception):
    """Any error of this project."""


class Retryable(VmhaError):
    """Try again later."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Refused(VmhaError):
    """A precondition was lost: read again, decide again."""


class Rejected(VmhaError):
    """The request is impossible as it stands. ``accepted`` says what would do, when that can be said."""

    def __init__(self, message: str, *, accepted: str = "") -> None:
        super().__init__(f"{message} (accepted: {accepted})" if accepted else message)
        self.accepted = accepted


class NotThere(Rejected):
    """Nothing of that kind has that name."""


class Broken(VmhaError):
    """An invariant does not hold: going on could damage a disk."""
