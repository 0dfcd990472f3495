"""The few system calls that Python 3.11 has no function for, by ctypes.

Raw and small on purpose: each function is one call, raises OSError with a name in it, and decides nothing.
"""

import ctypes
import os
import struct
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
BOX_NAMESPACES = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

POWER_OFF = 0x4321FEDC
RESTART = 0x01234567

_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 1
_SYS_MOUNT_SETATTR = 442  # the same number on every architecture; Linux 5.12 and newer
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_SETGROUPS = {"x86_64": 116, "aarch64": 159}
_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(fd: int, flags: int) -> None:
    _check(_libc.setns(fd, flags), f"setns({flags:#x})")


def mount(source: str, target: str, fs: str = "", flags: int = 0, data: str = "") -> None:
    result = _libc.mount(source.encode(), target.encode(), fs.encode(), ctypes.c_ulong(flags), data.encode())
    _check(result, f"mount {fs or 'bind'} {source} on {target}")


def make_mounts_private() -> None:
    """Nothing mounted from here on is seen by the namespace this one was copied from."""
    mount("none", "/", "", MS_REC | MS_PRIVATE)


def bind(source: str, target: str, *, read_only: bool, recursive: bool = True) -> None:
    """Bind ``source`` on ``target``, which is made when missing.

    Read-only goes by mount_setattr: a remount would have to repeat flags that a user namespace may not drop.
    """
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).touch()
    mount(source, target, "", MS_BIND | (MS_REC if recursive else 0))
    if read_only:
        set_read_only(target)


def set_read_only(target: str) -> None:
    """Make the mount at ``target``, and all below it, read-only."""
    attr = _MountAttr(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    size = ctypes.sizeof(attr)
    path = target.encode()
    result = _libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE, ctypes.byref(attr), size)
    _check(result, f"mount_setattr {target}")


def move_into(new_root: str) -> None:
    """Make ``new_root`` the root of this mount namespace and let go of the old one."""
    old = f"{new_root}/.old"
    os.makedirs(old)
    _check(_libc.syscall(_SYS_PIVOT_ROOT[os.uname().machine], new_root.encode(), old.encode()), "pivot_root")
    os.chdir("/")
    _check(_libc.umount2(b"/.old", MNT_DETACH), "umount of the old root")
    os.rmdir("/.old")


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel to send ``signal_number`` to this process when the thread that forked it ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def pretend_setgroups() -> None:
    """Make setgroups() succeed without doing anything, here and in all children.

    A user namespace with a single id denies setgroups(), and libvirt calls it before every exec of QEMU: without
    this filter no guest starts. The filter: load the call's number; setgroups returns 0; everything else is allowed.
    """
    number = _SYS_SETGROUPS[os.uname().machine]
    program = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000), (0x06, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in program))
    header = _FilterProgram(len(program), ctypes.cast(code, ctypes.c_void_p))
    _check(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(header), 0, 0), "prctl(PR_SET_SECCOMP)")


def reboot(command: int) -> None:
    """reboot(2). In a pid namespace it ends that namespace's init only: SIGINT for a halt, SIGHUP for a restart."""
    _check(_libc.reboot(command), "reboot")
