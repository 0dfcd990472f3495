"""A host that a real systemd boots, with the units of ``deploy``, byte for byte; the programs they start are given.

systemd is the first process of namespaces and of a cgroup of its own, and ends with the test, however that ends.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import look_until

OURS = ("vmha-guard.service", "vmha-agent.service")
UNITS = Path(__file__).parents[2] / "deploy/systemd"
TARGETS = {
    f"{name}.target": "[Unit]\nDefaultDependencies=no\n"
    for name in ("sysinit", "basic", "local-fs", "network-online", "multi-user", "shutdown")
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FURNISH = "mount -t tmpfs tmpfs /run"
BOOT = """\
set -e
mount -t proc proc /proc
{furnish}
mkdir /run/seen
mount -t tmpfs tmpfs /opt && mkdir -p /opt/vmha/bin
cp -r "$1"/programs/. /opt/vmha/bin
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cp -r "$1"/units /run/units
export SYSTEMD_UNIT_PATH={unit_path} container=test
exec /lib/systemd/systemd --system --unit=test.target --log-target=null --show-status=0
"""


@dataclass(kw_only=True)
class Host:
    first: int

    def run(self, *words: str) -> str:
        done = subprocess.run(self.inside(*words), capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.strip()

    def type(self, script: str, *, timeout_s: float = 300.0) -> str:
        """As its root types it, with nothing of the test's in the environment; it has to succeed. What it printed."""
        clean = ["env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", "bash", "-ec", script]
        done = subprocess.run(
            self.inside(*clean),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"{script}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def inside(self, *words: str) -> list[str]:
        """The command by which these are run there."""
        return ["nsenter", "-t", str(self.first), "-m", "-p", "-n", "-i", "-C", *words]

    def is_active(self, *units: str) -> bool:
        return self.run("systemctl", "is-active", *units).split() == ["active"] * len(units)

    def seen(self, name: str) -> str:
        return self.run("cat", f"/run/seen/{name}")

    def begins_to_stop(self) -> None:
        self.run("systemctl", "start", "--no-block", "--job-mode=replace-irreversibly", "shutdown.target")


@contextmanager
def booted(
    folder: Path,
    *,
    programs: Mapping[str, str],
    outside: Mapping[str, str],
    furnish: str = FURNISH,
    has_joined: bool = True,
    unit_path: str = "/run/units",
) -> Iterator[Host]:
    """Args:
    folder: For what is copied into the host.
    programs: What lies in /opt/vmha/bin.
    outside: Units beside ours; those of ``outside`` are wanted.
    furnish: Shell commands that mount /run, and whatever else.
    has_joined: Guard and agent are started at boot.
    unit_path: Where systemd looks for units, those of /run/units among them.
    """
    shutil.copytree(UNITS, folder / "units")
    wanted = " ".join([name for name in outside if name.endswith(".service")] + list(OURS if has_joined else ()))
    test_target = f"[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\nWants={wanted}\n"
    for name, text in {**TARGETS, **outside, "test.target": test_target}.items():
        (folder / "units" / name).write_text(text)
    (folder / "programs").mkdir()
    for name, text in programs.items():
        (folder / "programs" / name).write_text(text)
        (folder / "programs" / name).chmod(0o755)
    group = _cgroups() / f"vmha-test-{os.getpid()}"
    group.mkdir()
    apart = "unshare -mpnuiC --fork --kill-child --propagation private"  # ends with this process, however that ends
    enter = f'echo $$ >{group}/cgroup.procs; exec setpriv --pdeathsig KILL {apart} sh -c "$0" sh "$1"'
    boot = BOOT.format(furnish=furnish, unit_path=unit_path)
    outer = subprocess.Popen(["sh", "-c", enter, boot, str(folder)], stdin=subprocess.DEVNULL)
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    first = int(look_until(lambda: children.read_text().split())[0])
    try:
        yield Host(first=first)
    finally:
        os.kill(first, signal.SIGKILL)
        outer.wait()
        look_until(lambda: not any(path.read_text() for path in group.rglob("cgroup.procs")))
        for path in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            path.rmdir()
        group.rmdir()


def _cgroups() -> Path:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return Path(next(mount[1] for mount in mounts if mount[2] == "cgroup2"))
