"""The real agent and guard in the units of ``deploy``, under a real systemd: what confines them is not in their way.

etcd, libvirtd and QEMU are real, too. One host, one story: it joins by one command, which starts the units; a guest is
started and seen, and ended when etcd goes.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.booted_host import Host, booted
from tests.support.waiting import look_until

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
UUID = "5d0f0a11-8c1e-4a53-9c07-0d2f6a1c0b77"
CONFIG = "/opt/vmha/etc/vmha.toml"
GUEST = """\
<domain type='qemu'>
  <name>web</name>
  <memory unit='MiB'>32</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""
WEB_ID = 61234
# The checkout may lie in a home, which the units do not see: so it is reached by another way. Whatever is written there
# belongs to the host's memory, the marks of units that are enabled too.
FURNISH = f"""\
cd {ROOT}
{sys.executable} -c 'from tests.support.host_init import furnish; furnish("{UUID}")'
ip link set lo up
mount -t tmpfs tmpfs /etc/systemd/system
for one in passwd group; do
    [ -e /run/$one ] || {{ cp /etc/$one /run && mount --bind /run/$one /etc/$one; }}
done
echo 'vmha-web:x:{WEB_ID}:{WEB_ID}::/:/usr/sbin/nologin' >>/run/passwd
echo 'vmha-web:x:{WEB_ID}:' >>/run/group
"""
PATIENT = {"within_s": 90.0, "each_s": 0.3}  # each look is a process
SOURCE = "/opt/vmha/source"
VENV = Path(sys.prefix)
PYTHON = f"{SOURCE}/{VENV.relative_to(ROOT)}/bin/python" if VENV.is_relative_to(ROOT) else sys.executable
PROGRAM = f"""#!/bin/sh
cd {SOURCE} && export PYTHONPATH={SOURCE}/src PYTHONDONTWRITEBYTECODE=1
[ "$1" != web ] || VMHA_CONFIG={CONFIG} exec {PYTHON} -m vmha web
exec >>/run/seen/"$1".log 2>&1
case "$1" in
-m) exec {PYTHON} -m vmha.fencing.guard --config {CONFIG} ;;
agent) exec {PYTHON} -m vmha agent --config {CONFIG} ;;
esac
"""
OUTSIDE = {
    "etcd.service": "[Service]\nExecStart=/usr/bin/etcd --data-dir /run/etcd\n",
    "libvirtd.service": "[Service]\nExecStart=/usr/sbin/libvirtd --config /etc/libvirt/libvirtd.conf\n",
    "source.service": "[Unit]\nBefore=vmha-guard.service vmha-agent.service\n"
    "[Service]\nType=oneshot\nRemainAfterExit=yes\n"
    f"ExecStart=/bin/sh -c 'mkdir {SOURCE} && mount --bind {ROOT} {SOURCE}'\n",
}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    programs = {"vmha": PROGRAM, "python": PROGRAM, "web.xml": GUEST}
    with booted(tmp_path, programs=programs, outside=OUTSIDE, furnish=FURNISH, has_joined=False) as host:
        try:
            yield host
        finally:
            print(host.seen("agent.log")[-4000:], host.seen("-m.log")[-4000:])


def run(host: Host, *words: str) -> str:
    settings = [] if "--endpoints" in words else [f"VMHA_CONFIG={CONFIG}"]
    return host.run("env", *settings, sys.executable, "-m", "vmha", *words)


def ask(host: Host, *words: str) -> Any:
    """What is told as JSON; nothing while etcd does not answer yet."""
    said = run(host, *words, "--json")
    return json.loads(said) if said else {}


def about(host: Host, unit: str) -> dict[str, str]:
    """What the kernel says of its process: ``status``, and how it is scheduled and spared."""
    pid = host.run("systemctl", "show", "--value", "-p", "MainPID", unit)
    lines = (line.partition(":") for line in host.run("cat", f"/proc/{pid}/status").splitlines())
    scheduler = f"import os; print(os.sched_getscheduler({pid}) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR)"
    return {name: value.strip() for name, _, value in lines} | {
        "is real time": host.run(sys.executable, "-c", scheduler),
        "oom_score_adj": host.run("cat", f"/proc/{pid}/oom_score_adj"),
    }


def may_spare_itself() -> bool:
    """Of the killer of a host without memory: also root may not in most containers."""
    tried = "echo -1000 >/proc/self/oom_score_adj"
    return subprocess.run(["sh", "-c", tried], capture_output=True, check=False).returncode == 0


def capabilities(host: Host, unit: str) -> int:
    return int(about(host, unit)["CapBnd"], 16)


def test_agent_and_guard_do_their_work_confined(host: Host) -> None:
    def online() -> Any:
        return [node for node in ask(host, "node", "list") if node["eligible"]]

    def is_qemu(pid: str) -> bool:
        return "qemu" in host.run("cat", f"/proc/{pid}/comm")

    site = ("--endpoints", "127.0.0.1:2379", "--cluster", "t")
    look_until(lambda: host.is_active("etcd", "libvirtd", "source"), what="the host has booted")
    look_until(lambda: "is set up" in run(host, "cluster", "init", *site), what="the cluster is set up", **PATIENT)
    assert not host.is_active("vmha-agent")
    said = run(
        host, "node", "join", "n1", *site, "--address", "127.0.0.1", "--watchdog", "", "--config", CONFIG, "--web"
    )
    assert "n1 is a node of cluster t; next: vmha node why n1, vmha status" in said, said
    assert "node-without-watchdog" in said, "it is told what the doctor finds of it"
    at_boot = host.run("ls", "/etc/systemd/system/multi-user.target.wants").split()
    assert at_boot == ["vmha-agent.service", "vmha-guard.service", "vmha-web.service"]
    ask_page = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9780/api/v1/nodes').status)"
    look_until(lambda: host.run(sys.executable, "-c", ask_page) == "200", what="its dashboard answers", **PATIENT)
    (node,) = look_until(online, what="it is online", **PATIENT)
    assert node["armed"] == "guard", "it has armed the guard, whose self-test found that it can kill"
    assert not capabilities(host, "vmha-agent") & 1 << 25, "the clock is not the agent's to set"
    assert capabilities(host, "vmha-guard") & 1 << 5, "killing is the guard's"
    guard = about(host, "vmha-guard")
    assert int(guard["VmLck"].split()[0]) > 1024, "no page of it is ever had from a disk"
    assert guard["is real time"] == "True", "nothing ordinary keeps it from running"
    assert guard["oom_score_adj"] == "-1000" or not may_spare_itself()
    run(host, "vm", "add", "web", "--xml", "/opt/vmha/bin/web.xml", "--start")
    look_until(lambda: ask(host, "vm", "show", "web").get("state") == "running", what="it runs", **PATIENT)
    pid = host.run("cat", "/run/libvirt/qemu/web.pid")
    assert is_qemu(pid)
    host.run("systemctl", "stop", "etcd")
    look_until(lambda: not is_qemu(pid), what="the guard ends it", **PATIENT)
    assert host.is_active("vmha-agent", "vmha-guard", "libvirtd")
