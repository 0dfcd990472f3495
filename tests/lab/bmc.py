"""Management boards of a lab's hosts: simulated IPMI, served from another host; the chassis is the lab's switch."""

import shutil
from pathlib import Path

from tests.lab.conftest import LabRun, wait_until
from tests.support.bmc import PASSWORD, lay_out
from vmha.lab.layout import FENCE_AGENT

ON_H2 = "vmha lab exec h2 --"
FIRST_PORT = 6230


def serve_bmc(lab: LabRun, host: str, *, on: str) -> int:
    """The board of ``host``; returns its port."""
    port = FIRST_PORT + int(host.removeprefix("h"))
    etc = lab.path / on / "etc"
    inside = Path("/etc") / f"bmc-{host}"
    folder = etc / inside.name
    shutil.rmtree(folder, ignore_errors=True)
    ask = f"{FENCE_AGENT} -n {host} -o status >/dev/null && echo 1 || echo 0"
    switch = f'[ "$value" = 1 ] && to=on || to=off; {FENCE_AGENT} -n {host} -o "$to" >/dev/null'
    command = lay_out(folder, inside=inside, address="0.0.0.0", port=port, ask=ask, switch=switch)
    lab.sh(on, f"setsid {command} </dev/null >/run/{inside.name}.log 2>&1 &")
    wait_until("the board listens", lambda: f"{port:04X} " in lab.sh(on, "cat /proc/net/udp"))
    return port


def give_password(lab: LabRun, host: str) -> None:
    """As the page says: a program that prints it."""
    program = lab.path / host / "etc/vmha/bmc-password"
    program.write_text(f"#!/bin/sh\necho {PASSWORD}\n")
    program.chmod(0o700)
