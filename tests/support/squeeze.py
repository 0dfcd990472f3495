"""Processes that are out of memory and stand still, as on a host that swaps: until the squeeze is lifted.

With rights on the kernel's memory controller (cgroup 1) they come into a group that may not have one page more, without
the kernel's killer and without what swap the machine has: each thread stands as soon as it touches a new page, and a
call that needs memory of the kernel (a file, a process) may be refused (ENOMEM). What a process had before is not
counted: it runs until it needs something. Where there is no such controller they are stopped (SIGSTOP): a host that
stands still and refuses nothing.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.groups import own_group, remove

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
        remove(group, to=group.parent)


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
    group = own_group(CONTROLLER, "memory") / f"vmha-squeeze-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        return None
    (group / "memory.swappiness").write_text("0")
    (group / "memory.limit_in_bytes").write_text(ONE_PAGE)
    (group / "memory.oom_control").write_text("1")
    return group
