"""The dashboard in its unit, under a real systemd with a real etcd: as a user of its own, it serves and lets in."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.test_confined import OUTSIDE as WITH_LIBVIRT
from tests.real.test_confined import PATIENT, PYTHON, ROOT, SOURCE
from tests.support.booted_host import FURNISH, Host, booted
from tests.support.waiting import look_until
from tests.unit.web.operators import PASSWORD

pytestmark = pytest.mark.real

ID = 61234
SETTINGS = """cluster = "t"
endpoints = ["127.0.0.1:2379"]
[web]
users = "/run/web/users.json"
"""
PROGRAM = f"""#!/bin/sh
[ "$1" = web ] || exec sleep 1000
cd {SOURCE} && export PYTHONPATH={SOURCE}/src PYTHONDONTWRITEBYTECODE=1 VMHA_CONFIG=/opt/vmha/bin/vmha.toml
exec {PYTHON} -m vmha web
"""
# The unit's user, and the folder that is his; both are the host's, in its memory.
WITH_USER = f"""{FURNISH}
cp /etc/passwd /etc/group /run
echo 'vmha-web:x:{ID}:{ID}::/:/usr/sbin/nologin' >>/run/passwd
echo 'vmha-web:x:{ID}:' >>/run/group
mount --bind /run/passwd /etc/passwd
mount --bind /run/group /etc/group
mkdir -m 700 /run/web
chown {ID}:{ID} /run/web
ip link set lo up
"""
ASK = """
import asyncio
import httpx
from tests.unit.web.operators import log_in
async def main():
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9780") as browser:
        print((await browser.get("/")).status_code, (await log_in(browser)).status_code)
asyncio.run(main())
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    programs = {"vmha": PROGRAM, "python": PROGRAM, "vmha.toml": SETTINGS, "ask.py": ASK}
    outside = {name: WITH_LIBVIRT[name] for name in ("etcd.service", "source.service")}
    after = "[Unit]\nAfter=source.service\nWants=vmha-web.service\n[Service]\nExecStart=/bin/sleep 1000\n"
    with booted(tmp_path, programs=programs, outside={**outside, "wants.service": after}, furnish=WITH_USER) as host:
        try:
            yield host
        finally:
            print(host.run("systemctl", "status", "--no-pager", "vmha-web", "etcd", "source"))


def inside(host: Host, words: str, before: str = "") -> str:
    python = f"PYTHONPATH={ROOT} VMHA_CONFIG=/opt/vmha/bin/vmha.toml {sys.executable}"
    return host.run("sh", "-c", f"cd {ROOT} && {before}{python} {words} 2>&1")


def test_dashboard_serves_and_lets_in_as_a_user_who_may_do_nothing_else(host: Host) -> None:
    assert "alice may log in" in inside(host, "-m vmha web user add alice", f"echo '{PASSWORD}' | env ")
    look_until(lambda: inside(host, "/opt/vmha/bin/ask.py").endswith("200 303"), what="she is let in", **PATIENT)
    pid = host.run("systemctl", "show", "--value", "-p", "MainPID", "vmha-web")
    status = dict(line.split(":\t", 1) for line in host.run("cat", f"/proc/{pid}/status").splitlines() if ":\t" in line)
    assert status["Uid"].split() == [str(ID)] * 4
    assert int(status["CapBnd"], 16) == int(status["CapPrm"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
