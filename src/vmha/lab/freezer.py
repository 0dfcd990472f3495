"""Standing still: all processes of one machine stop at once and go on later, as if the host had been paused.

With rights on cgroup 2 the kernel's freezer does it. An ordinary user has none: then every process of the machine is
stopped by SIGSTOP, again and again until a sweep finds no new one. Both leave memory, sockets and clocks as they are,
and a frozen machine can still be killed.
"""

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

_SETTLE_S = 5.0
_POLL_S = 0.005


class Freezer(Protocol):
    def admit(self, pid: int) -> None:
        """Take a machine's pid 1 in; what it starts follows by itself."""

    def entrance(self) -> int | None:
        """A file descriptor through which a process that joins the machine later comes under this freezer."""

    async def freeze(self) -> None: ...

    async def thaw(self) -> None: ...

    def discard(self) -> None:
        """The machine is gone: leave nothing behind."""


class CgroupFreezer:
    """One cgroup per machine below the lab's own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def admit(self, pid: int) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        (self._path / "cgroup.procs").write_text(str(pid))

    def entrance(self) -> int | None:
        return os.open(self._path / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)

    async def freeze(self) -> None:
        await self._switch("1")

    async def thaw(self) -> None:
        await self._switch("0")

    async def _switch(self, value: str) -> None:
        (self._path / "cgroup.freeze").write_text(value)
        async with asyncio.timeout(_SETTLE_S):
            while f"frozen {value}" not in (self._path / "cgroup.events").read_text():  # noqa: ASYNC110 (a kernel file)
                await asyncio.sleep(_POLL_S)

    def discard(self) -> None:
        with suppress(OSError):  # not empty yet, or never made: the lab's end sweeps it
            self._path.rmdir()


class SignalFreezer:
    """SIGSTOP for every process of the machine's pid namespace."""

    def __init__(self) -> None:
        self._pid: int | None = None

    def admit(self, pid: int) -> None:
        self._pid = pid

    def entrance(self) -> int | None:
        return None

    async def freeze(self) -> None:
        stopped: set[int] = set()
        # A process may fork between the look and the signal: sweep until nothing new is there.
        while fresh := self._members() - stopped:
            self._signal(fresh, signal.SIGSTOP)
            stopped |= fresh

    async def thaw(self) -> None:
        self._signal(self._members(), signal.SIGCONT)

    def discard(self) -> None:
        self._pid = None

    def _members(self) -> set[int]:
        namespace = os.readlink(f"/proc/{self._pid}/ns/pid")
        members = set()
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.readlink(f"/proc/{entry}/ns/pid") == namespace:
                    members.add(int(entry))
            except OSError:
                continue  # it ended while we looked
        return members

    @staticmethod
    def _signal(pids: set[int], number: signal.Signals) -> None:
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def find_cgroup_root() -> Path | None:
    """The mounted cgroup 2 tree (alone, or beside version 1 trees), when we may make groups in it."""
    for path in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (path / "cgroup.controllers").exists() and (path / "cgroup.procs").exists():
            return path if os.access(path, os.W_OK) else None
    return None


def sweep_cgroups(name: str) -> bool:
    """Remove the lab's cgroups. True when nothing of them is left.

    Empty directories of a lab whose supervisor was killed are the one thing that the kernel does not collect.
    """
    root = find_cgroup_root()
    if root is None or not (root / name).exists():
        return True
    for _ in range(100):
        for directory, _, _ in os.walk(root / name, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                continue
        if not (root / name).exists():
            return True
        time.sleep(0.02)
    return False
