"""Ending QEMU processes for certain: SIGKILL by pidfd, and waiting until the kernel says that each is gone.

A pidfd holds on to one process: after it is open, the process behind the number can not become another one. So it is
opened first, then the process is compared with the one that was found, then it is signalled. The pidfd becomes
readable when the last thread has exited, with its files closed and its memory given back: that, and nothing earlier,
is "gone". SIGKILL and not a polite stop: a guest that may be slow to stop may be running when its successor starts.
What it had written over the network and was not sent yet dies with it (``unsent``).

A host may be out of descriptors, or of the kernel's memory for one more, in the very instant that its guests must end:
then neither can a pidfd be opened nor /proc be read. So a pidfd of each guest is held ready while all is well
(``hold``); to signal it and to see it gone takes nothing more.
Standard library only: the guard imports this.
"""

import errno
import os
import resource
import select
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from vmha.fencing.qemu_processes import Guest, QemuProcesses
from vmha.fencing.unsent import forget_unsent

SPARE_FILES = 64
"""Descriptors that holding guests leaves to the guard: to look, to write its state, to be asked."""


@dataclass(frozen=True, slots=True)
class Struck:
    """A guest that is to end and is not known to be gone. ``pidfd``: of this very process; -1: none could be opened."""

    guest: Guest
    pidfd: int
    error: str = ""


class Killing:
    """The guests that were struck and are not gone yet, and a hand on those that may have to be."""

    def __init__(self, processes: QemuProcesses) -> None:
        self._processes = processes
        self._struck: dict[tuple[int, int], Struck] = {}
        self._held: dict[tuple[int, int], Struck] = {}

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

    def hold(self, guests: Iterable[Guest], *, instead: bool = True) -> None:
        """Have a pidfd of each ready, as far as descriptors go; of none that is gone, and ``instead``: of no other."""
        wanted = {_key(guest): guest for guest in guests}
        for key in self._held.keys() - wanted.keys():
            if instead or self._is_gone(self._held[key]):
                os.close(self._held.pop(key).pidfd)
        room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES - len(self._held)
        for key, guest in wanted.items():
            if key in self._held or room <= 0:
                continue
            with suppress(OSError):  # tried again at the next look
                self._held[key] = Struck(guest, self._open(guest))
                room -= 1

    def strike_held(self) -> None:
        """For when it can not be told what runs: all that did when it last could."""
        for held in list(self._held.values()):
            self.strike(held.guest)

    def strike(self, guest: Guest) -> None:
        """Send SIGKILL to this very process. Striking again is harmless."""
        key = _key(guest)
        before = self._struck.get(key) or self._held.pop(key, None)
        pidfd, error = (before.pidfd, "") if before else (-1, "")
        try:
            if pidfd < 0:
                pidfd = self._open(guest)
            forget_unsent(guest.pid, pidfd)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            if pidfd < 0:
                self._struck.pop(key, None)
                return  # gone already; by a pidfd reap() notices
        except OSError as failure:
            error = f"{guest.name} (pid {guest.pid}): {failure.strerror}"
            if pidfd < 0 and failure.errno not in (errno.EPERM, errno.EACCES):
                error = self._strike_without_pidfd(guest, error)
        self._struck[key] = Struck(guest, pidfd, error)

    def _open(self, guest: Guest) -> int:
        """A pidfd of this very process.

        Raises:
            ProcessLookupError: it has gone.
            OSError: none could be opened, or it can not be told whose it is.
        """
        pidfd = os.pidfd_open(guest.pid)
        try:
            if not self._processes.still_runs(guest):
                raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        except BaseException:
            os.close(pidfd)
            raise
        return pidfd

    def _strike_without_pidfd(self, guest: Guest, error: str) -> str:
        # No file descriptor left, or a kernel without pidfds. The small risk that the pid changes hands between the
        # look and the signal is less than that of a guest that outlives its node's claim.
        try:
            if self._processes.still_runs(guest):
                os.kill(guest.pid, signal.SIGKILL)
        except OSError as failure:
            return f"{error}; {failure.strerror}"
        return error

    def reap(self) -> None:
        """Forget the struck that are gone; try those again that could not be reached."""
        for key, struck in list(self._struck.items()):
            if self._is_gone(struck):
                if struck.pidfd >= 0:
                    os.close(struck.pidfd)
                del self._struck[key]
            elif struck.pidfd < 0:
                self.strike(struck.guest)

    def _is_gone(self, struck: Struck) -> bool:
        if struck.pidfd < 0:
            try:
                return not self._processes.still_runs(struck.guest)
            except OSError:
                return False  # it can not be told
        poll = select.poll()
        poll.register(struck.pidfd, select.POLLIN)
        return bool(poll.poll(0))


def _key(guest: Guest) -> tuple[int, int]:
    return (guest.pid, guest.start_ticks)
