"""The hand on each guest: a descriptor of its process, for as long as there is one."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vmha.fencing.killing import Killing
from vmha.fencing.qemu_processes import Guest, QemuProcesses


@contextmanager
def process() -> Iterator[Guest]:
    one = subprocess.Popen(["sleep", "60"])
    try:
        stat = Path(f"/proc/{one.pid}/stat").read_text()
        yield Guest(uuid="u", name="web", pid=one.pid, start_ticks=int(stat.rpartition(")")[2].split()[19]))
    finally:
        one.kill()
        one.wait()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_guests_that_end_while_it_can_not_be_told_what_runs_leave_no_descriptor_behind(tmp_path: Path) -> None:
    """A status file that can not be read for months must not use them up one by one."""
    killing, before = Killing(QemuProcesses("c", str(tmp_path))), descriptors()
    for _ in range(3):
        with process() as guest:
            killing.hold([guest], instead=False)
            killing.hold([], instead=False)
            assert descriptors() == before + 1, "it may run, and is not let go"
        killing.hold([], instead=False)
        assert descriptors() == before
