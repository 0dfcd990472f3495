"""Two real libvirt hosts on this machine, each in namespaces of its own, joined by one cable.

``LibvirtHosts`` needs root, libvirtd, QEMU, iproute2 and util-linux. Nothing is named on the machine: the hosts live in
anonymous namespaces held by their first process, which ends when its standard input does.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from vmha.model.clock import SystemClock

INIT = Path(__file__).with_name("host_init.py")
NAMESPACES = ("--mount", "--pid", "--net", "--uts", "--ipc")
START_TIMEOUT_S = 60.0
CLOCK = SystemClock()


class HostError(RuntimeError):
    """A test host did not do as told."""


class LibvirtHost:
    """One host: namespaces, a reaping first process, a libvirtd."""

    def __init__(self, name: str, address: str, uuid: str) -> None:
        self.name = name
        self.address = address
        command = [
            "unshare",
            *NAMESPACES,
            "--fork",
            "--kill-child",
            "--mount-proc",
            sys.executable,
            str(INIT),
            name,
            uuid,
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._expect("up")
        self.pid = self._find_first_process()
        self._libvirtd = 0

    @property
    def uri(self) -> str:
        """How this process reaches the host's libvirtd."""
        return f"qemu+unix:///system?socket={self.inside('/run/libvirt/libvirt-sock')}"

    @property
    def peer_uri(self) -> str:
        """How another host's libvirtd reaches this one's."""
        return f"qemu+tcp://{self.address}/system"

    @property
    def data_uri(self) -> str:
        return f"tcp://{self.address}"

    def inside(self, path: str) -> Path:
        return Path(f"/proc/{self.pid}/root{path}")

    def plug_in(self) -> None:
        self._order(f"net {self.address}/24")

    def start_libvirtd(self) -> None:
        self._libvirtd = int(self._order("libvirtd"))
        deadline = CLOCK.now() + START_TIMEOUT_S
        while not self._answers():
            if CLOCK.now() > deadline:
                log = self.inside("/var/log/libvirtd.log")
                raise HostError(f"{self.name}: libvirtd is not up: {log.read_text() if log.exists() else 'no log'}")
            time.sleep(0.02)

    def signal_libvirtd(self, signum: signal.Signals) -> None:
        self._order(f"kill {self._libvirtd} {signum.name}")

    def restart_libvirtd(self) -> None:
        """Kill -9 and start again, as a crash and systemd would."""
        self.stop_libvirtd()
        self.start_libvirtd()

    def stop_libvirtd(self) -> None:
        self.signal_libvirtd(signal.SIGKILL)
        deadline = CLOCK.now() + START_TIMEOUT_S
        while self.inside(f"/proc/{self._libvirtd}").exists():
            if CLOCK.now() > deadline:
                raise HostError(f"{self.name}: libvirtd does not go")
            time.sleep(0.01)

    def qemu_pid(self, vm: str) -> int:
        """The QEMU's process number as seen inside the host."""
        return int(self.inside(f"/run/libvirt/qemu/{vm}.pid").read_text())

    def signal_qemu(self, vm: str, signum: signal.Signals) -> None:
        self._order(f"kill {self.qemu_pid(vm)} {signum.name}")

    def migration_phase(self, vm: str) -> str:
        """What libvirtd noted for itself of a migration's phase; empty: there is none."""
        status = self.inside(f"/run/libvirt/qemu/{vm}.xml").read_text()
        found = re.search(r"<job [^>]*phase='([^']*)'", status)
        return found[1] if found else ""

    def virsh(self, *words: str, timeout_s: float = 60.0) -> str:
        done = subprocess.run(
            ["virsh", "-c", self.uri, *words], capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.returncode:
            raise HostError(f"virsh {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10)

    def _answers(self) -> bool:
        probe = ["virsh", "-c", self.uri, "version"]
        return subprocess.run(probe, capture_output=True, timeout=START_TIMEOUT_S, check=False).returncode == 0

    def _order(self, words: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        answer = self._readline()
        if answer.startswith(("error", "unknown")):
            raise HostError(f"{self.name}: {words}: {answer}")
        return answer

    def _expect(self, word: str) -> None:
        if (answer := self._readline()) != word:
            raise HostError(f"{self.name}: expected {word!r}, got {answer!r}")

    def _readline(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _find_first_process(self) -> int:
        outer = self._process.pid
        return int(Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])


class LibvirtHosts:
    """Hosts ``one`` and ``two``, able to migrate to each other; ``cut`` pulls the cable between them."""

    def __init__(self) -> None:
        self.one = LibvirtHost("one", "10.201.0.1", "11111111-1111-4111-8111-111111111111")
        self.two = LibvirtHost("two", "10.201.0.2", "22222222-2222-4222-8222-222222222222")
        veth = f"ip link add eth0 netns {self.one.pid} type veth peer name eth0 netns {self.two.pid}"
        try:
            subprocess.run(veth.split(), check=True, capture_output=True)
            for host in (self.one, self.two):
                host.plug_in()
                host.start_libvirtd()
        except BaseException:
            self.close()
            raise

    def cut(self) -> None:
        self._cable("down")

    def heal(self) -> None:
        self._cable("up")

    def close(self) -> None:
        self.one.close()
        self.two.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _cable(self, state: str) -> None:
        command = ["nsenter", "-t", str(self.two.pid), "-n", "ip", "link", "set", "eth0", state]
        subprocess.run(command, check=True, capture_output=True)


def missing_tools() -> list[str]:
    """What this machine lacks for real hosts, in words; empty when they can be built."""
    missing = [] if os.geteuid() == 0 else ["root"]
    search = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    for tool in ("libvirtd", "virsh", "qemu-system-x86_64", "unshare", "nsenter", "ip"):
        if not any((Path(directory) / tool).exists() for directory in search):
            missing.append(tool)
    return missing
