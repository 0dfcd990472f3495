"""Exit codes, and which error ends in which. They are promises to scripts: docs/reference/exit-codes.md."""

from enum import IntEnum

from vmha.model.errors import Rejected, Retryable, VmhaError


class ExitCode(IntEnum):
    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    UNREACHABLE = 3
    UNKNOWN_NAME = 4
    TIMED_OUT = 5
    REFUSED = 6


class Unreachable(VmhaError):
    """The cluster does not answer; the message names the endpoint, where it came from, and what to try."""


def exit_code_of(error: VmhaError) -> ExitCode:
    from vmha.operator.errors import RefusedByCluster, TimedOut, UnknownName

    match error:
        case Unreachable() | Retryable():
            return ExitCode.UNREACHABLE
        case UnknownName():
            return ExitCode.UNKNOWN_NAME
        case RefusedByCluster():
            return ExitCode.REFUSED
        case TimedOut():
            return ExitCode.TIMED_OUT
        case Rejected():
            return ExitCode.BAD_INPUT
        case _:
            return ExitCode.FAILED
