"""Processes by pid and start time, so that a number that was given out again is never taken for the old process."""

import os
import select
import signal
from contextlib import suppress
from pathlib import Path


def start_time(pid: int) -> str:
    """When ``pid`` began, in clock ticks since boot.

    Raises:
        OSError: no such process.
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def find_process(pid: int, started: str) -> int | None:
    """A pidfd of that very process, or None when it is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except (ProcessLookupError, OSError):
        return None
    try:
        if start_time(pid) == started:
            return pidfd
    except OSError:
        pass
    os.close(pidfd)
    return None


def kill(pidfd: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def await_end(pidfd: int, timeout_s: float) -> bool:
    """True when the process has ended within ``timeout_s`` (a zombie has)."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
