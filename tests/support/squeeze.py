"""Processes that are out of memory and stand still, as on a host that swaps: until the squeeze is lifted.

With rights on the kernel's memory controller (cgroup 1) they come into a group that may not have one page more, without
the kernel's killer: each thread stands as soon as it touches a new page, and a call that needs memory of the kernel (a
file, a process) may be refused (ENOMEM). What a process had before is not counted: it runs until it needs something.
Where there is no such controller they are stopped (SIGSTOP): a host that stands still and refuses nothing.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CONTROLLER = Path("/sys/fs/cgroup/memory")
ONE_PAGE = "4096"


@contextmanager
def squeezed(*pids: int, or_stopped: bool = True) -> Iterator[bool]:
    """These processes, and those that they start meanwhile; yields whether it is memory that they lack.

    Args:
        pids: As this process counts them.
        or_stopped: Whether they are stopped where memory can not be taken from them.
    """
    group = _make_group()
    if group is None:
        with _stopped(pids if or_stopped else ()):
            yield False
        return
    try:
        for pid in pids:
            with suppress(ProcessLookupError):
                (group / "cgroup.procs").write_text(str(pid))
        yield True
    finally:
        (group / "memory.limit_in_bytes").write_text("-1")
        _empty(group)


@contextmanager
def _stopped(pids: tuple[int, ...]) -> Iterator[None]:
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _make_group() -> Path | None:
    """A new one beside this process; None: not on this machine."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = next((path for _, kind, path in (line.split(":", 2) for line in lines) if kind == "memory"), "")
    group = CONTROLLER / own.lstrip("/") / f"vmha-squeeze-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        return None
    (group / "memory.limit_in_bytes").write_text(ONE_PAGE)
    (group / "memory.oom_control").write_text("1")
    return group


def _empty(group: Path) -> None:
    """Whoever is left goes back to where this process is; the kernel keeps a group until its last process has gone."""
    while left := (group / "cgroup.procs").read_text().split():
        for pid in left:
            with suppress(ProcessLookupError):
                (group.parent / "cgroup.procs").write_text(pid)
    group.rmdir()
