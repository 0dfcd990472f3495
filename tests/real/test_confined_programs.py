"""What the agent runs for a site, in the agent's own unit under a real systemd: fence agents and hooks do their work.

The unit is the product's, byte for byte. In the agent's place is a program that calls the agent's own code for them.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.test_confined import OUTSIDE as WITH_LIBVIRT
from tests.real.test_confined import PATIENT, PYTHON, SOURCE
from tests.support.bmc import lay_out
from tests.support.booted_host import FURNISH, Host, booted
from tests.support.waiting import look_until

pytestmark = pytest.mark.real

PORT = 16230
ANSWERS = "/run/seen/answers.json"
PROGRAM = f"""#!/bin/sh
[ "$1" = agent ] || exec sleep 1000
cd {SOURCE} && export PYTHONPATH={SOURCE}:{SOURCE}/src PYTHONDONTWRITEBYTECODE=1
exec {PYTHON} -m tests.support.in_the_unit {PORT} {ANSWERS} >/run/seen/agent.log 2>&1
"""
# What a site's program may need, and what the unit takes from it.
HOOK = """#!/bin/sh
read -r told
echo "$told $*; I am $(id -u)"
awk '/^CapEff/ {print $2}' /proc/self/status
echo mine >/var/lib/hook-was-here && cat /var/lib/hook-was-here
[ -w /usr ] || [ -w /etc ] || echo 'may not write there'
date -s "$(date)" >/dev/null 2>&1 || echo 'may not set the clock'
"""
CAP_NET_ADMIN, CAP_SYS_RAWIO, CAP_SYS_ADMIN, CAP_SYS_TIME = 12, 17, 21, 25


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    board = tmp_path / "bmc"
    ask, switch = f"cat {board}/power", f'echo "$value" >{board}/power'
    command = lay_out(board, inside=board, address="127.0.0.1", port=PORT, ask=ask, switch=switch)
    (board / "power").write_text("1\n")
    outside = {
        "source.service": WITH_LIBVIRT["source.service"],
        "bmc.service": f"[Unit]\nBefore=vmha-agent.service\n[Service]\nExecStart=/usr/bin/{command}\n",
    }
    furnish = f"{FURNISH}\nip link set lo up\nmount -t tmpfs tmpfs /var/lib"
    with booted(
        tmp_path, programs={"vmha": PROGRAM, "python": PROGRAM, "hook": HOOK}, outside=outside, furnish=furnish
    ) as host:
        try:
            yield host
        finally:
            print(host.seen("agent.log")[-4000:], host.run("systemctl", "status", "--no-pager", "bmc", "vmha-agent"))


def test_fence_agents_and_hooks_do_their_work_in_the_agents_unit(host: Host) -> None:
    told = json.loads(look_until(lambda: host.run("cat", ANSWERS), what="they have run", **PATIENT))
    assert told["ipmi"] == "fence_ipmilan: power was on, is off"
    assert told["is on again"] == "on"
    assert told["storage"] == "fence_dummy: storage access was on, is off"
    assert set(told["described"].values()) == {True}, told["described"]
    is_done, said = told["hook"]
    greeting, capabilities, *rest = said.removeprefix("exit code 0: ").splitlines()
    assert (is_done, greeting) == (True, '{"event": "node-lost"} --queue ops; I am 0')
    assert rest == ["mine", "may not write there", "may not set the clock"]
    held = int(capabilities, 16)
    assert all(held & 1 << one for one in (CAP_NET_ADMIN, CAP_SYS_RAWIO, CAP_SYS_ADMIN))
    assert not held & 1 << CAP_SYS_TIME
