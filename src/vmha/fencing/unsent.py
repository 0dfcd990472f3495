"""What a QEMU has written and its kernel has not sent yet must not arrive after the QEMU is dead.

A process that is killed leaves its TCP connections to the kernel, which goes on sending what they hold for minutes.
With a disk that QEMU reaches over TCP by itself (NBD, Gluster, NFS by libnfs, iSCSI by libiscsi, Ceph), a write that
was under way when the storage cable was cut is sent when the cable is mended: after the vm was started elsewhere. So
each connection is told, while its process still lives, to forget what it holds when it is closed (SO_LINGER of 0 s).
Of disks that the host's own kernel serves (a SAN's LUN, NFS), the kernel lets no process die while such a write is
under way: there the watchdog speaks.

Standard library only: the guard imports this. It may fail silently: the kill that follows must not wait for it.
"""

import ctypes
import os
import socket
import struct
from contextlib import suppress

from vmha.fencing.qemu_processes import QemuProcesses

_PIDFD_GETFD = 438  # the same on all architectures
_FORGET = struct.pack("ii", 1, 0)
_libc = ctypes.CDLL(None, use_errno=True)


def forget_unsent(pid: int, pidfd: int) -> int:
    """Let every TCP connection of a process forget what it holds unsent, once the process is dead.

    Args:
        pid: The process; ``pidfd`` is open on it, so that the number can mean no other one.
        pidfd: By which its descriptors are reached.

    Returns:
        How many connections were told.
    """
    told = 0
    with suppress(OSError, MemoryError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                told += _tell(pid, pidfd, int(name))
    return told


def forget_unsent_of(processes: QemuProcesses, name: str) -> int:
    """The same for the QEMU of a guest that is about to be ended by others; none is found: none is told.

    Args:
        processes: Where to look; a look of its own for each thread.
        name: The guest.

    Returns:
        How many connections were told.
    """
    told = 0
    for guest in processes.scan(frozenset({name})).guests:
        if guest.name != name:
            continue
        with suppress(OSError):
            pidfd = os.pidfd_open(guest.pid)
            try:
                if processes.still_runs(guest):
                    told += forget_unsent(guest.pid, pidfd)
            finally:
                os.close(pidfd)
    return told


def _tell(pid: int, pidfd: int, number: int) -> bool:
    if not os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
        return False
    fd = _libc.syscall(_PIDFD_GETFD, pidfd, number, 0)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    with socket.socket(fileno=fd) as ours:  # closing our copy leaves the connection as it is
        if ours.family not in (socket.AF_INET, socket.AF_INET6) or ours.type != socket.SOCK_STREAM:
            return False
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FORGET)
        return True
