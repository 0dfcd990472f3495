"""The root file system of one machine, built from inside its fresh mount namespace.

What it sees: the real machine's programs, read-only; its own /etc and /var, which survive a power cut; /run, /tmp and
/dev/shm in memory, which do not; its own /proc, /sys, machine id, boot id and /dev/watchdog. The lab's directory is
covered, so that no host finds another host's files, and so are the switches in /proc that would reach the real machine.
"""

import os
import socket
from pathlib import Path

from vmha.lab import linux
from vmha.lab.boxplan import HIDDEN, BoxPlan
from vmha.lab.layout import BOX_BIN
from vmha.lab.linux import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "kvm", "net/tun")
_DEVICE_LINKS = {
    "ptmx": "pts/ptmx",
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
# One byte written there acts on the real machine's kernel.
_DANGEROUS = ("sysrq-trigger", "kcore", "kmsg")


def build(plan: BoxPlan, watchdog_fd: int | None) -> None:
    """Build the root and move into it. The caller is pid 1 of fresh namespaces of its own."""
    root = plan.new_root
    linux.make_mounts_private()
    linux.mount("tmpfs", root, "tmpfs", 0, "mode=755,size=256m")
    _bind_programs(plan, root)
    for name in ("etc", "var"):
        linux.bind(f"{plan.directory}/{name}", f"{root}/{name}", read_only=False)
    _make_memory_directories(root)
    _make_kernel_views(plan, root)
    _make_devices(root, watchdog_fd)
    _make_visible(plan, root)
    linux.move_into(root)
    socket.sethostname(plan.name)
    _write_commands(plan)


def _bind_programs(plan: BoxPlan, root: str) -> None:
    for name in sorted(set(os.listdir("/")) - HIDDEN):
        source, target = f"/{name}", f"{root}/{name}"
        if os.path.islink(source):
            os.symlink(os.readlink(source), target)
        elif os.path.isdir(source):
            linux.bind(source, target, read_only=True)


def _make_visible(plan: BoxPlan, root: str) -> None:
    """Python and the package, wherever they are installed: also under a directory that a box has for itself."""
    for path in plan.visible:
        if path.split("/")[1] in HIDDEN:
            linux.bind(path, root + path, read_only=True)
    # When the lab's directory lies under a directory that was bound: cover it.
    if os.path.isdir(root + plan.lab_directory):
        linux.mount("tmpfs", root + plan.lab_directory, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "mode=755,size=4k")


def _make_memory_directories(root: str) -> None:
    for name in ("run", "tmp", "dev", "proc", "sys", "root"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    os.chmod(f"{root}/tmp", 0o1777)
    linux.mount("tmpfs", f"{root}/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    for name in ("lock", "libvirt", "vmha"):
        os.makedirs(f"{root}/run/{name}")


def _make_kernel_views(plan: BoxPlan, root: str) -> None:
    linux.mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    linux.mount("sysfs", f"{root}/sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    linux.bind(f"{root}/proc/sys", f"{root}/proc/sys", read_only=True)
    for name in _DANGEROUS:
        if os.path.exists(f"{root}/proc/{name}"):
            linux.bind("/dev/null", f"{root}/proc/{name}", read_only=False)
    boot_id = Path(f"{root}/run/boot_id")
    boot_id.write_text(f"{plan.boot_id}\n")
    linux.mount(str(boot_id), f"{root}/proc/sys/kernel/random/boot_id", "", MS_BIND)


def _make_devices(root: str, watchdog_fd: int | None) -> None:
    dev = f"{root}/dev"
    linux.mount("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=755,size=1m")
    for name in _DEVICES:
        if os.path.exists(f"/dev/{name}"):
            linux.bind(f"/dev/{name}", f"{dev}/{name}", read_only=False, recursive=False)
    for name in ("pts", "shm"):
        os.makedirs(f"{dev}/{name}")
    linux.mount("devpts", f"{dev}/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    linux.mount("tmpfs", f"{dev}/shm", "tmpfs", MS_NOSUID | MS_NODEV)
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"{dev}/{name}")
    if watchdog_fd is not None:
        Path(f"{dev}/watchdog").touch()
        options = f"fd={watchdog_fd},rootmode=100600,user_id=0,group_id=0"
        linux.mount("vmha-watchdog", f"{dev}/watchdog", "fuse", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)


def _write_commands(plan: BoxPlan) -> None:
    os.makedirs(BOX_BIN)
    for name, script in plan.commands.items():
        path = Path(BOX_BIN) / name
        path.write_text(script)
        path.chmod(0o755)
