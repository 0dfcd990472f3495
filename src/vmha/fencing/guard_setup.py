"""Making the guard hard to hold up, and proving at start that it could do its work.

Hardening: memory locked (a page that must come back from a hung root disk would hold the kill up) and some of it in
reserve (a new page may be long in coming on a host that is full), real-time priority (a busy host must not starve it),
last in line for the out-of-memory killer. Each may be forbidden here; none is
needed for the guard to work on a healthy host, so each fails softly and is told in status.

Self-test: it can read libvirt's run directory, hold on to a process and end it, may signal other users' processes, and
its clock runs. A failed check means that this guard promises nothing: its level is "none". Standard library only.
"""

import ctypes
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

MCL_CURRENT, MCL_FUTURE = 1, 2
CAP_KILL, CAP_IPC_LOCK = 5, 14
OK = "ok"

SMALL_BYTES, SMALL_IN_RESERVE = 480, 8192
LARGE_BYTES, LARGE_IN_RESERVE = 64 << 10, 32
"""What Python takes from its own allocator (512 bytes at most), and from libc's (of less than a mapping)."""
KEPT_OF_SMALL = 64
CALLS_DEEP = 300
"""Some 200 KiB of stack, and many times what it uses."""
_reserve: list[object] = []


def harden() -> dict[str, str]:
    """Do what is allowed. Returns per measure "ok" or why not."""
    _keep_reserve()
    return {
        "memory_locked": _told(_lock_memory),
        "real_time": _told(_become_real_time),
        "oom_score": _told(lambda: Path("/proc/self/oom_score_adj").write_text("-1000")),
        "open_files": _told(_raise_open_files),
    }


def self_test(libvirt_run_dir: Path) -> dict[str, str]:
    """Check what a kill needs. Returns per check "ok" or why not."""
    return {
        "clock": _told(_check_clock),
        "pidfd_kill": _told(_check_kill),
        "may_signal": _told(_check_may_signal),
        "libvirt_run_dir": check_run_dir(libvirt_run_dir),
    }


def check_run_dir(libvirt_run_dir: Path) -> str:
    """Whether the status files could be read now. Changes when libvirtd first runs after boot, so it is asked anew."""
    return _told(lambda: os.listdir(libvirt_run_dir))


def _told(measure: Callable[[], object]) -> str:
    try:
        measure()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    except (ValueError, RuntimeError) as error:
        return str(error)
    return OK


def _lock_memory() -> None:
    # With a limit that binds, MCL_FUTURE would make a later allocation fail: locking must not be what ends the guard.
    flags = MCL_CURRENT | (MCL_FUTURE if _may_lock_without_limit() else 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mlockall: {os.strerror(number)}")


def _keep_reserve() -> None:
    """Six MiB and a deep stack that were touched and are free for anything: for these no page need be had later.

    Allocators give a piece back when nothing in it is used any more. So of each a little stays used: of the small ones
    one here and there, of the large ones the last, above which nothing lies.
    """
    small = [bytes(SMALL_BYTES) for _ in range(SMALL_IN_RESERVE)]
    large = [bytearray(LARGE_BYTES) for _ in range(LARGE_IN_RESERVE)]
    _reserve[:] = [*small[::KEPT_OF_SMALL], large[-1]]
    _go_deep(CALLS_DEEP)


def _go_deep(calls: int) -> None:
    """Each call through C takes a piece of the stack, which keeps the pages that it once had."""
    if calls:
        list(map(_go_deep, (calls - 1,)))


def _may_lock_without_limit() -> bool:
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
        return True
    # The capability counts only in the first user namespace, whose map is the whole range onto itself.
    is_first_namespace = Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
    return is_first_namespace and _has_capability(CAP_IPC_LOCK)


def _become_real_time() -> None:
    # The lowest real-time priority is above every ordinary process, and below the kernel's own threads.
    priority = os.sched_get_priority_min(os.SCHED_RR)
    os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(priority))


def _raise_open_files() -> None:
    # One pidfd per guest while it dies.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _check_clock() -> None:
    first = time.clock_gettime(time.CLOCK_BOOTTIME)
    if not 0 < first <= time.clock_gettime(time.CLOCK_BOOTTIME):
        raise RuntimeError("CLOCK_BOOTTIME goes back")


def _check_kill() -> None:
    child = os.fork()
    if child == 0:
        try:
            # Should this process be killed right now, the child must not live on with its lock.
            signal.alarm(5)
            os.closerange(0, 1024)
            signal.pause()
        finally:
            os._exit(1)
    try:
        pidfd = os.pidfd_open(child)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if not poll.poll(1000):
                raise RuntimeError("a killed process was not gone within 1 s")
        finally:
            os.close(pidfd)
    finally:
        os.kill(child, signal.SIGKILL)  # not reaped yet, so the number is still the child's
        os.waitpid(child, 0)


def _check_may_signal() -> None:
    if os.geteuid() != 0 and not _has_capability(CAP_KILL):
        raise RuntimeError("neither root nor CAP_KILL: QEMUs of other users could not be ended")


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False
