"""A management board (BMC) that speaks IPMI 2.0 over a network: OpenIPMI's simulator, with a chassis of our own.

It runs wherever it is started, on loopback or in a host of the lab; shell says what the chassis does with the power.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.etcd import free_ports
from tests.support.waiting import look_until

USER, PASSWORD = "vmha", "secret"
CIPHER = "3"
"""Said by the options: the simulator does not tell which ones it takes, and ipmitool asks for that for 10 s."""

_LAN = """\
name "bmc"
set_working_mc 0x20
startlan 1
  addr {address} {port}
  priv_limit admin
  allowed_auths_admin md5
  guid a123456789abcdefa123456789abcdef
endlan
chassis_control "{chassis}"
user 1 false "" "nobody" user 10 md5
user 2 true "{user}" "{password}" admin 10 md5
"""
_COMMANDS = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
mc_enable 0x20
"""
_CHASSIS = """\
#!/bin/sh
# get WHAT..., or set WHAT VALUE...; only the power is asked for here.
verb=$1
while [ "$#" -gt 1 ]; do
    shift
    [ "$1" = power ] || continue
    case "$verb" in
    get) printf 'power:%s\\n' "$({ask})" ;;
    set) value=$2; {switch} ;;
    esac
done
"""


def lay_out(folder: Path, *, inside: Path, address: str, port: int, ask: str, switch: str) -> str:
    """Writes a board's files into ``folder``, which its own machine calls ``inside``; returns the command that is it.

    Args:
        ask: shell, prints 1 for power that is on, else 0.
        switch: shell, switches to ``$value``.
    """
    (folder / "state").mkdir(parents=True)
    lan = _LAN.format(address=address, port=port, chassis=inside / "chassis", user=USER, password=PASSWORD)
    (folder / "lan.conf").write_text(lan)
    (folder / "commands").write_text(_COMMANDS)
    (folder / "chassis").write_text(_CHASSIS.format(ask=ask, switch=switch))
    (folder / "chassis").chmod(0o755)
    return f"ipmi_sim -n -c {inside}/lan.conf -f {inside}/commands -s {inside}/state"


def options(port: int) -> dict[str, str]:
    """Of fence_ipmilan, for one on loopback."""
    here = {"ip": "127.0.0.1", "ipport": str(port), "username": USER, "password": PASSWORD}
    return {**here, "lanplus": "1", "cipher": CIPHER}


@dataclass(frozen=True, kw_only=True)
class Bmc:
    """One on loopback. Its power is a file, and so is how long it takes for an answer."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def is_on(self) -> bool:
        return (self.folder / "power").read_text().strip() == "1"

    def take(self, seconds: float) -> None:
        (self.folder / "delay").write_text(f"{seconds:g}")

    def die(self) -> None:
        """With its chassis, which may be asleep."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def options(self, **other: str) -> dict[str, str]:
        """As an operator gives them."""
        return {**options(self.port), **other}


@contextmanager
def running_bmc(folder: Path) -> Iterator[Bmc]:
    assert shutil.which("ipmi_sim"), "needs Debian's openipmi (scripts/bootstrap dev)"
    (port,) = free_ports(1)
    ask, switch = f"sleep $(cat {folder}/delay); cat {folder}/power", f'echo "$value" >{folder}/power'
    command = lay_out(folder, inside=folder, address="127.0.0.1", port=port, ask=ask, switch=switch)
    (folder / "power").write_text("1\n")
    with (folder / "said").open("wb") as said:
        streams = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
        process = subprocess.Popen(command.split(), start_new_session=True, **streams)
    bmc = Bmc(folder=folder, port=port, process=process)
    bmc.take(0)
    try:
        look_until(lambda: _listens(port), what="the board listens")
        yield bmc
    finally:
        bmc.die()


def _listens(port: int) -> bool:
    entries = Path("/proc/net/udp").read_text().splitlines()[1:]
    return any(entry.split()[1] == f"0100007F:{port:04X}" for entry in entries)
