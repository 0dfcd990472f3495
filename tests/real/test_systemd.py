"""The units of ``deploy`` under a real systemd: what it makes of them, and in which order it stops things.

The programs that the units start are stand-ins here; ``test_confined.py`` has the real ones. The host is told to stop,
as far as that goes without a power switch: ``shutdown.target`` is what every service is stopped for, and what
``systemctl is-system-running`` answers by.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.booted_host import UNITS, Host, booted
from tests.support.waiting import look_until

pytestmark = pytest.mark.real

OUTSIDE = {
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
EXPOSURE = {"vmha-agent": 4.7, "vmha-guard": 2.3, "vmha-web": 1.3}
"""What ``systemd-analyze security`` of systemd 252 may say at most: 0 can do nothing, 10 is root as it is."""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with booted(tmp_path, programs={"vmha": PROGRAM, "python": PROGRAM}, outside=OUTSIDE) as host:
        look_until(lambda: host.is_active("vmha-agent", *OTHERS))
        look_until(lambda: host.run("systemctl", "is-system-running") == "running", what="the host has booted")
        yield host


@pytest.mark.parametrize("name", EXPOSURE)
def test_units_stay_as_confined_as_they_were(name: str) -> None:
    at_most = str(round(EXPOSURE[name] * 10))
    command = ["systemd-analyze", "security", "--no-pager", "--offline=yes", f"--threshold={at_most}"]
    done = subprocess.run([*command, str(UNITS / f"{name}.service")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


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
    host.run("sh", "-c", "printf '[Service]\\nTimeoutStopSec=6s\\n' >/run/units/vmha-agent.service.d/soon.conf")
    host.run("systemctl", "daemon-reload")
    host.run("touch", "/run/seen/hang")
    host.begins_to_stop()
    look_until(lambda: host.seen("leave").startswith("stopping"))
    assert host.is_active(*OTHERS), "they wait for it"
    look_until(lambda: not any(host.is_active(unit) for unit in ("vmha-agent", *OTHERS)))
    assert host.run("ls", "/run/seen/guest-ended")
