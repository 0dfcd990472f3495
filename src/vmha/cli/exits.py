"""Exit codes, and which error ends in which. They are promises to scripts; docs/reference has them."""

from enum import IntEnum
from typing import Final

from vmha.model.errors import NotThere, Rejected, Retryable, VmhaError


class ExitCode(IntEnum):
    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    UNREACHABLE = 3
    UNKNOWN_NAME = 4
    TIMED_OUT = 5
    REFUSED = 6


INTERRUPTED: Final = 130
"""By Ctrl-C, as every program that a shell runs."""

MEANINGS: Final[dict[int, str]] = {
    ExitCode.DONE: "Done. Asking for what is so already counts as done.",
    ExitCode.FAILED: (
        "The operation began and failed, or others kept changing the same things. `vmha import`: something "
        "was left out. `vmha plan`: a vm that is wanted running would not run. `vmha doctor`: something was "
        "found. `vmha verify`: it is not so, or not known."
    ),
    ExitCode.BAD_INPUT: "Bad usage or bad input. Nothing was written.",
    ExitCode.UNREACHABLE: (
        "The cluster could not be reached. Told within 5 s, with the endpoint and the next thing to try."
    ),
    ExitCode.UNKNOWN_NAME: "Unknown name; the near ones are suggested. Nothing was written.",
    ExitCode.TIMED_OUT: (
        "Timed out while waiting. What was asked for stands, and goes on: see `vmha requests`, `vmha vm why`."
    ),
    ExitCode.REFUSED: "Refused by the cluster as it stands, with what each node said.",
    INTERRUPTED: "Ended by Ctrl-C. What was asked for stands, and goes on.",
}


class Unreachable(VmhaError):
    """The cluster does not answer; the message names the endpoint, where it came from, and what to try."""


def exit_code_of(error: VmhaError) -> ExitCode:
    from vmha.operator.errors import RefusedByCluster, TimedOut

    match error:
        case Unreachable() | Retryable():
            return ExitCode.UNREACHABLE
        case NotThere():
            return ExitCode.UNKNOWN_NAME
        case RefusedByCluster():
            return ExitCode.REFUSED
        case TimedOut():
            return ExitCode.TIMED_OUT
        case Rejected():
            return ExitCode.BAD_INPUT
        case _:
            return ExitCode.FAILED
