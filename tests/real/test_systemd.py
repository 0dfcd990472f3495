"""The units of ``deploy`` under a real systemd: what it makes of them, and in which order it stops things.

It is the first process of namespaces and of a cgroup of its own. The programs that the units start are stand-ins; the
units are those that are shipped, byte for byte. The host is told to stop, as far as that goes without a power switch:
``shutdown.target`` is what every service is stopped for, and what ``systemctl is-system-running`` answers by.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.waiting import look_until

pytestmark = pytest.mark.real

UNITS = Path(__file__).parents[2] / "deploy/systemd"
OUTSIDE = {
    **{
        f"{name}.target": "[Unit]\nDefaultDependencies=no\n"
        for name in ("sysinit", "basic", "local-fs", "network-online", "multi-user", "shutdown")
    },
    "test.target": "[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\n"
    "Wants=vmha-guard.service vmha-agent.service libvirtd.service etcd.service guest.service\n",
    "libvirtd.service": "[Service]\nExecStart=/bin/sleep 1000\n",
    "etcd.service": "[Service]\nExecStart=/bin/sleep 1000\n",
    "virt-guest-shutdown.target": "[Unit]\nDescription=as libvirt ships it\n",
    # As libvirt makes the scope of a guest.
    "guest.service": "[Unit]\nBefore=virt-guest-shutdown.target\n"
    "[Service]\nExecStart=/bin/sleep 1000\nExecStopPost=/bin/touch /run/seen/guest-ended\n",
}
OTHERS = ("vmha-guard", "libvirtd", "etcd", "guest")
PROGRAM = f"""#!/bin/sh
case "$1" in
leave)
    systemctl is-system-running >>/run/seen/leave
    systemctl is-active {" ".join(OTHERS)} >>/run/seen/leave
    [ ! -e /run/seen/hang ] || exec sleep 1000 ;;
*) exec sleep 1000 ;;
esac
"""
BOOT = """\
set -e
mount -t proc proc /proc
mount -t tmpfs tmpfs /run && mkdir /run/seen
mount -t tmpfs tmpfs /opt && mkdir -p /opt/vmha/bin
cp "$1"/vmha /opt/vmha/bin/vmha && cp "$1"/vmha /opt/vmha/bin/python
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cp -r "$1"/units /run/units
export SYSTEMD_UNIT_PATH=/run/units container=test
exec /lib/systemd/systemd --system --unit=test.target --log-target=null --show-status=0
"""


@dataclass(kw_only=True)
class Host:
    first: int

    def run(self, *words: str) -> str:
        command = ["nsenter", "-t", str(self.first), "-m", "-p", "-n", "-i", "-C", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()

    def is_active(self, *units: str) -> bool:
        return self.run("systemctl", "is-active", *units).split() == ["active"] * len(units)

    def seen(self, name: str) -> str:
        return self.run("cat", f"/run/seen/{name}")

    def begins_to_stop(self) -> None:
        self.run("systemctl", "start", "--no-block", "--job-mode=replace-irreversibly", "shutdown.target")


def cgroups() -> Path:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return Path(next(mount[1] for mount in mounts if mount[2] == "cgroup2"))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    shutil.copytree(UNITS, tmp_path / "units")
    for name, text in OUTSIDE.items():
        (tmp_path / "units" / name).write_text(text)
    (tmp_path / "vmha").write_text(PROGRAM)
    (tmp_path / "vmha").chmod(0o755)
    group = cgroups() / f"vmha-test-{os.getpid()}"
    group.mkdir()
    apart = "unshare -mpnuiC --fork --kill-child --propagation private"  # ends with this process, however that ends
    enter = f'echo $$ >{group}/cgroup.procs; exec setpriv --pdeathsig KILL {apart} sh -c "$0" sh "$1"'
    outer = subprocess.Popen(["sh", "-c", enter, BOOT, str(tmp_path)], stdin=subprocess.DEVNULL)
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    first = int(look_until(lambda: children.read_text().split())[0])
    try:
        host = Host(first=first)
        look_until(lambda: host.is_active("vmha-agent", *OTHERS))
        yield host
    finally:
        os.kill(first, signal.SIGKILL)
        outer.wait()
        look_until(lambda: not any(path.read_text() for path in group.rglob("cgroup.procs")))
        for path in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            path.rmdir()
        group.rmdir()


def test_systemd_has_nothing_to_say_against_the_units(tmp_path: Path) -> None:
    for path in UNITS.glob("*.service"):
        text = path.read_text().replace("/opt/vmha/bin/vmha", "/bin/true").replace("/opt/vmha/bin/python", "/bin/true")
        (tmp_path / path.name).write_text(text)
    command = ["systemd-analyze", "verify", "--recursive-errors=no", *map(str, tmp_path.glob("*.service"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_agent_takes_leave_when_the_host_stops_and_before_anything_that_it_needs_does(host: Host) -> None:
    host.run("systemctl", "restart", "vmha-agent")
    assert host.seen("leave").split() == ["running", *["active"] * len(OTHERS)], "a restart is no shutdown"
    host.run("rm", "/run/seen/leave")
    host.begins_to_stop()
    look_until(lambda: len(host.seen("leave").split()) == 1 + len(OTHERS))
    assert host.seen("leave").split() == ["stopping", *["active"] * len(OTHERS)]
    look_until(lambda: not any(host.is_active(unit) for unit in ("vmha-agent", *OTHERS)))


def test_leave_that_never_ends_does_not_hold_up_the_host_for_longer_than_its_unit_says(host: Host) -> None:
    host.run("mkdir", "/run/units/vmha-agent.service.d")
    host.run("sh", "-c", "printf '[Service]\\nTimeoutStopSec=2s\\n' >/run/units/vmha-agent.service.d/soon.conf")
    host.run("systemctl", "daemon-reload")
    host.run("touch", "/run/seen/hang")
    host.begins_to_stop()
    look_until(lambda: host.seen("leave").startswith("stopping"))
    assert host.is_active(*OTHERS), "they wait for it"
    look_until(lambda: not any(host.is_active(unit) for unit in ("vmha-agent", *OTHERS)))
    assert host.run("ls", "/run/seen/guest-ended")
