"""The first process of a test host: mounts, libvirtd, and a mouth that takes orders on standard input.

It runs as PID 1 of its own namespaces and reaps, because libvirt waits for a daemonised QEMU to leave the process table
and a slow reaper adds seconds to every stop and every migration. End of its input is the end of the host: the kernel
then kills everything inside, so nothing outlives the test process, however that one died.

Orders, one a line: ``libvirtd`` (start it), ``kill PID SIGNAL``, ``net ADDRESS``. Each is answered by one line.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USERS = ("libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n", "libvirt-qemu:x:64055:\n")

LIBVIRTD_CONF = """host_uuid = "{uuid}"
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
listen_addr = "0.0.0.0"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
keepalive_interval = 2
keepalive_count = 3
log_outputs = "3:file:/var/log/libvirtd.log"
"""
QEMU_CONF = """user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
stdio_handler = "file"
namespaces = []
keepalive_interval = 2
keepalive_count = 3
"""


def _tmpfs(path: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], check=True)


def furnish(uuid: str) -> None:
    """Private directories wherever libvirt writes, and the user its Debian build insists on."""
    for path in ("/run", "/var/lib", "/var/log", "/var/cache", "/etc/libvirt"):
        _tmpfs(path)
    for path in ("/run/lock", "/run/libvirt", "/var/lib/libvirt", "/var/log/libvirt/qemu", "/var/cache/libvirt"):
        os.makedirs(path, exist_ok=True)
    for name, line in zip(("passwd", "group"), USERS, strict=True):
        with open(f"/etc/{name}") as original:
            text = original.read()
        if "libvirt-qemu:" not in text:
            with open(f"/run/{name}", "w") as copy:
                copy.write(text + line)
            subprocess.run(["mount", "--bind", f"/run/{name}", f"/etc/{name}"], check=True)
    with open("/etc/libvirt/libvirtd.conf", "w") as conf:
        conf.write(LIBVIRTD_CONF.format(uuid=uuid))
    with open("/etc/libvirt/qemu.conf", "w") as conf:
        conf.write(QEMU_CONF)


def _start_libvirtd() -> int:
    with open("/var/log/libvirtd.out", "ab") as out:
        return subprocess.Popen(
            ["libvirtd", "--listen", "--config", "/etc/libvirt/libvirtd.conf"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env={"PATH": PATH, "HOME": "/run", "LANG": "C.UTF-8"},
        ).pid


def _obey(words: list[str]) -> str:
    match words:
        case ["libvirtd"]:
            return str(_start_libvirtd())
        case ["kill", pid, name]:
            os.kill(int(pid), signal.Signals[name])
            return "ok"
        case ["net", address]:
            for command in (
                ["link", "set", "lo", "up"],
                ["addr", "add", address, "dev", "eth0"],
                ["link", "set", "eth0", "up"],
            ):
                subprocess.run(["ip", *command], check=True)
            return "ok"
    return f"unknown order {words}"


def _reap() -> None:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


def main(hostname: str, uuid: str) -> None:
    ctypes.CDLL(None).sethostname(hostname.encode(), len(hostname))
    os.environ["PATH"] = PATH
    furnish(uuid)
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    print("up", flush=True)
    pending = b""
    while True:
        ready, _, _ = select.select([0, wake_read], [], [])
        if wake_read in ready:
            os.read(wake_read, 4096)
            _reap()
        if 0 not in ready:
            continue
        chunk = os.read(0, 4096)
        if not chunk:
            return  # PID 1 leaves: the kernel ends the host
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            try:
                answer = _obey(line.decode().split())
            except (OSError, subprocess.CalledProcessError) as error:
                answer = f"error {error}"
            print(answer, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
