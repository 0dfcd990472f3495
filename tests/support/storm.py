"""Processes whose memory lies on the disk, as on a host in a swap storm.

They come into a group of the kernel's memory controller, and what can be swapped of it is pushed out to a swap file
at once. Only the group's processes swap. What a process had before it came into the group is not counted: to be in the
storm it has to be begun anew in it.

For cgroup 1 and 2. Where there can be none (no root, a tree that is read-only) ``NoStorm`` says why.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.groups import own_group, remove

SWAP_BYTES = 256 << 20
SWAP_FILES = Path("/var/tmp")
ABOVE_ALL = "32767"
"""The swap file's priority: before what the machine has of its own."""
NAME = "vmha-storm-"


class NoStorm(Exception):
    """Not on this machine, and why."""


@dataclass(frozen=True, kw_only=True)
class Controls:
    """The files of a version of cgroup, and what is written to them."""

    memory: Path
    limit: str
    swap: str
    swap_on: str


V1 = Controls(
    memory=Path("/sys/fs/cgroup/memory"),
    limit="memory.limit_in_bytes",
    swap="memory.swappiness",
    swap_on="100",
)
V2 = Controls(
    memory=Path("/sys/fs/cgroup"),
    limit="memory.max",
    swap="memory.swap.max",
    swap_on="max",
)


@dataclass(frozen=True, kw_only=True)
class Storm:
    """``home``: the group that this process came from."""

    controls: Controls
    memory: Path
    home: Path

    def take(self, *pids: int) -> None:
        """As this process counts them; what they start follows by itself."""
        for pid in pids:
            with suppress(ProcessLookupError):
                (self.memory / "cgroup.procs").write_text(str(pid))

    @contextmanager
    def born_of(self, pid: int) -> Iterator[None]:
        """What this process starts meanwhile is in the group, and stays in it."""
        self.take(pid)
        try:
            yield
        finally:
            (self.home / "cgroup.procs").write_text(str(pid))

    def push_out(self) -> bool:
        """All that can be swapped, at once. Whether the last of it is out: files of a tmpfs, and what is on its way."""
        with suppress(OSError):  # EAGAIN, EBUSY: something stays, as what is locked does
            if self.controls is V1:
                (self.memory / "memory.force_empty").write_text("0")
            else:
                (self.memory / "memory.reclaim").write_text((self.memory / "memory.current").read_text())
        lines = (line.split() for line in (self.memory / "memory.stat").read_text().splitlines())
        return not any(int(number) for name, number in lines if name in ("shmem", "swapcached"))


def bytes_of(pid: int, what: str) -> int:
    """What /proc/PID/status tells by this name: RssAnon, VmSwap."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return next(int(words[1]) * 1024 for words in lines if words[0] == f"{what}:")


def bytes_fetched(pid: int) -> int:
    """How much it had to have read from disks: for a page of its own, or of another's that it looked at."""
    lines = (line.split() for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return next(int(words[1]) for words in lines if words[0] == "read_bytes:")


@contextmanager
def storm() -> Iterator[Storm]:
    """A group that nobody is in yet, and the swap file. In the end whoever is left goes to where this process is.

    Raises:
        NoStorm: this machine has not what it takes.
    """
    with ExitStack() as undo:
        undo.enter_context(_swap_file())
        controls = V1 if V1.memory.exists() else V2
        memory = undo.enter_context(_group(controls.memory, "memory", controls.limit))
        made = Storm(controls=controls, memory=memory, home=own_group(controls.memory, "memory"))
        (memory / controls.swap).write_text(controls.swap_on)
        yield made


@contextmanager
def storm_if_possible() -> Iterator[Storm | None]:
    """For tests, which do without where there can be none: what they say of the guard has to hold there, too."""
    with ExitStack() as undo:
        try:
            made = undo.enter_context(storm())
        except NoStorm as reason:
            print(f"no swap storm can be made here: {reason}")
            yield None
        else:
            yield made


@contextmanager
def _group(tree: Path, controller: str, needed: str) -> Iterator[Path]:
    own = own_group(tree, controller)
    # In cgroup 2 only the first group may have both processes and groups below it that are controlled.
    group = (tree if tree == V2.memory else own) / f"{NAME}{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise NoStorm(f"no group of processes can be made in {group.parent}: {error.strerror}") from None
    try:
        if tree == V2.memory:
            with suppress(OSError):
                (tree / "cgroup.subtree_control").write_text("+memory")
        if not (group / needed).exists():
            raise NoStorm(f"the kernel has no {needed} for a group in {group.parent}")
        yield group
    finally:
        remove(group, to=own)


@contextmanager
def _swap_file() -> Iterator[None]:
    """Switched on."""
    _sweep()
    path = SWAP_FILES / f"{NAME}{os.getpid()}"
    try:
        with path.open("wb") as file:
            path.chmod(0o600)
            for _ in range(SWAP_BYTES >> 20):
                file.write(bytes(1 << 20))  # written, not allocated: a file system may take holes for no swap file
        _run("mkswap", str(path))
        _run("swapon", "--priority", ABOVE_ALL, str(path))
        try:
            yield
        finally:
            _run("swapoff", str(path))
    finally:
        path.unlink(missing_ok=True)


def _sweep() -> None:
    """Of a test run that was killed."""
    for path in SWAP_FILES.glob(f"{NAME}*"):
        if not Path(f"/proc/{path.name.removeprefix(NAME)}").exists():
            with suppress(NoStorm):
                _run("swapoff", str(path))
            path.unlink(missing_ok=True)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        raise NoStorm(f"no program {command[0]}") from None
    if done.returncode:
        raise NoStorm(f"{' '.join(command)}: {done.stderr.strip()}")
