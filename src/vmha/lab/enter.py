"""``vmha lab exec``: run a command inside a machine of the lab, as if logged in there.

The lab hands out a descriptor of the machine's pid 1; this process joins the pid namespace and forks, and only the
child joins everything else, also the machine's cgroup. The parent must not: a frozen machine that is killed could
never finish dying while its last process waits for a frozen parent to reap it.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from vmha.lab import linux
from vmha.lab.boxplan import HOME, box_environment
from vmha.lab.client import ask_with_fds
from vmha.lab.layout import LabDir, LabSpec, Tier
from vmha.model.errors import VmhaError

_PASSED_ON = ("TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR")
_NOT_FOUND, _NOT_EXECUTABLE, _NO_ENTRANCE = 127, 126, 125
_REST = linux.BOX_NAMESPACES & ~linux.CLONE_NEWPID


def run_in(lab: LabDir, node: str, argv: Sequence[str]) -> int:
    """Run ``argv`` in ``node`` with this process's standard streams; returns its exit code (128 + n for signal n).

    Raises:
        NoLab, Rejected, Refused: there is no such machine, or it is off or frozen.
        PermissionError: the lab belongs to another user.
    """
    answer, fds = ask_with_fds(lab, "enter", node=node)
    spec = LabSpec.from_json(lab.spec.read_text())
    in_user_namespace = answer["tier"] == Tier.USER
    machine, *freezer = fds
    linux.setns(machine, linux.CLONE_NEWPID | (linux.CLONE_NEWUSER if in_user_namespace else 0))
    child = os.fork()
    if child == 0:
        os._exit(_become(spec, machine, freezer, argv, pretend=in_user_namespace))
    for fd in fds:
        os.close(fd)
    # The terminal sends its signals to both: the command decides what they mean.
    old = [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)]
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGQUIT), old, strict=True):
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _become(spec: LabSpec, machine: int, freezer: list[int], argv: Sequence[str], *, pretend: bool) -> int:
    """The child: joins the rest of the machine and becomes the command. Returns only when that fails."""
    try:
        for fd in freezer:
            os.write(fd, b"0")
        linux.setns(machine, _REST)
        if pretend:
            linux.pretend_setgroups()
        os.chdir(HOME)
        os.closerange(3, 1024)
        inherited = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        os.execvpe(argv[0], list(argv), inherited | box_environment(spec))
    except FileNotFoundError:
        os.write(2, f"{argv[0]}: not found in this machine\n".encode())
        return _NOT_FOUND
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
    return _NOT_EXECUTABLE


def main() -> int:
    """``LABDIR NODE COMMAND ...``: for programs of the lab's own, in an interpreter that starts in no time."""
    directory, node, *argv = sys.argv[1:]
    try:
        return run_in(LabDir(Path(directory)), node, argv)
    except (VmhaError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return _NO_ENTRANCE
