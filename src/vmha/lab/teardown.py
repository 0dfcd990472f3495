"""``vmha lab down``: nothing of a lab is left, whatever state it is in.

Asked politely first; a lab that does not answer is killed from the top, and the kernel takes the rest along. Only files
that a lab makes are removed, and only from a directory that carries a lab's marker.
"""

import fcntl
import json
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

from vmha.lab import client, procs
from vmha.lab.freezer import sweep_cgroups
from vmha.lab.layout import LabDir, LabSpec
from vmha.model.clock import SystemClock
from vmha.model.errors import Retryable, VmhaError

_ASK_TIMEOUT_S = 3.0
_END_TIMEOUT_S = 15.0
_LOCK_POLL_S = 0.02
_clock = SystemClock()
_NODE_NAME = re.compile(r"(h|etcd-)\d+")


def down(lab: LabDir, *, keep_logs: bool = False) -> bool:
    """Take the lab down. False when there was none.

    With ``keep_logs`` the logs of the lab and of its machines stay where they are.

    Raises:
        Retryable: a process would not die; the message names it.
    """
    if not lab.marker.exists():
        return False
    _end_processes(lab)
    lock_fd = os.open(lab.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _await_lock(lab, lock_fd)
        _sweep(lab)
        _remove_files(lab, keep_logs=keep_logs)
    finally:
        os.close(lock_fd)
    return True


def _end_processes(lab: LabDir) -> None:
    members = _members(lab)
    with suppress(VmhaError):
        client.ask(lab, "down", timeout_s=_ASK_TIMEOUT_S)
        if all(procs.await_end(pidfd, _ASK_TIMEOUT_S) for pidfd in members.values()):
            return
    for name, pidfd in members.items():
        procs.kill(pidfd)
        if not procs.await_end(pidfd, _END_TIMEOUT_S):
            raise Retryable(f"the lab's process {name!r} does not end: see {lab.log}")


def _await_lock(lab: LabDir, lock_fd: int) -> None:
    """A supervisor that is tidying up after its lab lets go in a moment."""
    end_s = _clock.now() + _END_TIMEOUT_S
    while True:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if _clock.now() > end_s:
                raise Retryable(f"another command is building or removing the lab in {lab.path}; try again") from None
            time.sleep(_LOCK_POLL_S)


def _members(lab: LabDir) -> dict[str, int]:
    """Pidfds of the lab's two outermost processes, as far as they live."""
    try:
        recorded = json.loads(lab.pids.read_text())
    except (OSError, ValueError):
        return {}
    found = {name: procs.find_process(pid, started) for name, (pid, started) in recorded.items()}
    return {name: pidfd for name, pidfd in found.items() if pidfd is not None}


def _sweep(lab: LabDir) -> None:
    with suppress(OSError, ValueError, KeyError):
        sweep_cgroups(LabSpec.from_json(lab.spec.read_text()).cgroup_name)


def _remove_files(lab: LabDir, *, keep_logs: bool) -> None:
    nodes = [path for path in lab.path.iterdir() if _NODE_NAME.fullmatch(path.name)]
    if keep_logs:
        for node in nodes:
            _remove_all_but_logs(node)
        kept = {lab.events, lab.log, lab.marker}
        doomed = [path for path in lab.own_entries if path not in kept]
    else:
        doomed = [*nodes, *lab.own_entries]
    for path in doomed:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if not keep_logs:
        with suppress(OSError):  # somebody else's files are in it, or it is a mount point: it stays, without ours
            lab.path.rmdir()


def _remove_all_but_logs(node: Path) -> None:
    for path in sorted(node.rglob("*"), reverse=True):
        if path.relative_to(node).parts[:2] == ("var", "log"):
            continue
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):
                path.rmdir()
        else:
            path.unlink(missing_ok=True)
