"""Ending QEMU processes for certain: SIGKILL by pidfd, and waiting until the kernel says that each is gone.

A pidfd holds on to one process: after it is open, the process behind the number can not become another one. So it is
opened first, then the process is compared with the one that was found, then it is signalled. The pidfd becomes
readable when the last thread has exited, with its files closed and its memory given back: that, and nothing earlier,
is "gone". SIGKILL and not a polite stop: a guest that may be slow to stop may be running when its successor starts.
What it had written over the network and was not sent yet dies with it (``unsent``).
Standard library only: the guard imports this.
"""

import errno
import os
import select
import signal
from dataclasses import dataclass

from vmha.fencing.qemu_processes import Guest, QemuProcesses
from vmha.fencing.unsent import forget_unsent


@dataclass(frozen=True, slots=True)
class Struck:
    """A guest that was sent SIGKILL and is not known to be gone. ``pidfd`` is -1 where none could be opened."""

    guest: Guest
    pidfd: int
    error: str = ""


class Killing:
    """The guests that were struck and are not gone yet."""

    def __init__(self, processes: QemuProcesses) -> None:
        self._processes = processes
        self._struck: dict[tuple[int, int], Struck] = {}

    @property
    def outstanding(self) -> tuple[Guest, ...]:
        return tuple(struck.guest for struck in self._struck.values())

    @property
    def errors(self) -> tuple[str, ...]:
        return tuple(struck.error for struck in self._struck.values() if struck.error)

    @property
    def pidfds(self) -> tuple[int, ...]:
        """Readable when a struck guest is gone: for the caller's poll."""
        return tuple(struck.pidfd for struck in self._struck.values() if struck.pidfd >= 0)

    def strike(self, guest: Guest) -> None:
        """Send SIGKILL to this very process. Striking again is harmless."""
        key = (guest.pid, guest.start_ticks)
        before = self._struck.get(key)
        pidfd, error = (before.pidfd, "") if before else (-1, "")
        try:
            if pidfd < 0:
                pidfd = os.pidfd_open(guest.pid)
            if not self._processes.still_runs(guest):
                os.close(pidfd)
                self._struck.pop(key, None)
                return
            forget_unsent(guest.pid, pidfd)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass  # gone already; reap() notices
        except OSError as failure:
            error = f"{guest.name} (pid {guest.pid}): {failure.strerror}"
            if pidfd < 0 and failure.errno not in (errno.EPERM, errno.EACCES):
                error = self._strike_without_pidfd(guest, error)
        self._struck[key] = Struck(guest, pidfd, error)

    def _strike_without_pidfd(self, guest: Guest, error: str) -> str:
        # No file descriptor left, or a kernel without pidfds. The small risk that the pid changes hands between the
        # look and the signal is less than that of a guest that outlives its node's claim.
        if self._processes.still_runs(guest):
            try:
                os.kill(guest.pid, signal.SIGKILL)
            except OSError as failure:
                return f"{error}; {failure.strerror}"
        return error

    def reap(self) -> None:
        """Forget the struck that are gone."""
        for key, struck in list(self._struck.items()):
            if self._is_gone(struck):
                if struck.pidfd >= 0:
                    os.close(struck.pidfd)
                del self._struck[key]

    def _is_gone(self, struck: Struck) -> bool:
        if struck.pidfd < 0:
            return not self._processes.still_runs(struck.guest)
        poll = select.poll()
        poll.register(struck.pidfd, select.POLLIN)
        return bool(poll.poll(0))
