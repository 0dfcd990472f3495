"""The outermost process of a lab: takes the namespaces, forks pid 1 of the lab into them, waits, tidies up.

``python -m vmha.lab.supervisor LABDIR LOCK_FD PROGRESS_FD``, started by ``launch`` in a session of its own. It holds
the lab's lock as long as it lives. When it dies, even by SIGKILL, the kernel kills pid 1 of the lab and so everything.
"""

import errno
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from vmha.lab import linux
from vmha.lab.freezer import sweep_cgroups
from vmha.lab.layout import LabDir, LabSpec, Tier
from vmha.lab.procs import start_time

_FORBIDDEN = frozenset({errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EINVAL, errno.ENOSYS})


def main() -> int:
    lab = LabDir(Path(sys.argv[1]))
    progress_fd = int(sys.argv[3])
    spec = LabSpec.from_json(lab.spec.read_text())
    try:
        spec = _take_namespaces(spec)
    except OSError as error:
        if error.errno not in _FORBIDDEN:
            raise
        os.write(progress_fd, json.dumps({"forbidden": str(error)}).encode() + b"\n")
        return 1
    lifeline_read, lifeline_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(lifeline_write)
        _become_pid_1(spec, progress_fd, lifeline_read)
        return 1
    os.close(lifeline_read)
    os.close(progress_fd)
    _write_pids(lab, pid)
    os.waitpid(pid, 0)
    for path in (lab.pids, lab.control, lab.etcd):
        path.unlink(missing_ok=True)
    sweep_cgroups(spec.cgroup_name)
    return 0


def _take_namespaces(spec: LabSpec) -> LabSpec:
    """As root without a user namespace where that is allowed: then devices and cgroups are there to be used."""
    if spec.tier is Tier.ROOT:
        try:
            linux.unshare(linux.BOX_NAMESPACES)
            return spec
        except PermissionError:
            spec = replace(spec, tier=Tier.USER)
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER | linux.BOX_NAMESPACES)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    return spec


def _become_pid_1(spec: LabSpec, progress_fd: int, lifeline_fd: int) -> None:
    linux.die_with_parent(signal.SIGKILL)
    try:
        linux.unshare(linux.CLONE_NEWNS)  # the supervisor keeps the machine's /proc to look at
        linux.make_mounts_private()
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
        if spec.tier is Tier.USER:
            linux.pretend_setgroups()
    except OSError as error:
        os.write(progress_fd, json.dumps({"forbidden": str(error)}).encode() + b"\n")
        raise
    from vmha.lab import lab  # here: the supervisor itself stays small

    lab.run(spec, progress_fd, lifeline_fd)


def _write_pids(lab: LabDir, pid: int) -> None:
    """For ``down`` when the lab does not answer. Start times tell these processes from later ones of their number."""
    members = {"supervisor": os.getpid(), "lab": pid}
    lab.pids.write_text(json.dumps({name: [number, start_time(number)] for name, number in members.items()}))


if __name__ == "__main__":
    sys.exit(main())
