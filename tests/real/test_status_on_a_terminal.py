"""``vmha status`` on a real terminal, of a width of its own, against a real etcd."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.etcd import RealEtcd
from vmha.model.clock import SystemClock

pytestmark = pytest.mark.real

DEADLINE_S = 30.0
OTHER_SCREEN, FORMER_SCREEN, HOME = "\x1b[?1049h", "\x1b[?1049l", "\x1b[H"
COLOUR = re.compile(r"\x1b\[\d+m")
NODES = "nodes:\n" + "".join(f"  - name: kvm-{number}\n" for number in range(6))


@pytest.fixture(scope="module")
def etcd() -> Iterator[RealEtcd]:
    with RealEtcd() as running:
        yield running


@dataclass(slots=True)
class Terminal:
    """What a program has written to it."""

    master: int
    process: subprocess.Popen[bytes]
    seen: str = field(default="")

    def until(self, text: str, *, after: int = 0) -> int:
        """Returns where ``text`` ends in what was seen."""
        end_s = SystemClock().now() + DEADLINE_S
        while SystemClock().now() < end_s:
            if (at := self.seen.find(text, after)) >= 0:
                return at + len(text)
            self._read()
        raise AssertionError(f"{text!r} was not shown: {self.seen[after:]!r}")

    def end(self) -> int:
        end_s = SystemClock().now() + DEADLINE_S
        while SystemClock().now() < end_s:
            self._read()
            if self.process.poll() is not None:
                break
        self._read()
        return self.process.wait(DEADLINE_S)

    def _read(self) -> None:
        ready, _, _ = select.select([self.master], [], [], 0.1)
        if ready:
            try:
                self.seen += os.read(self.master, 1 << 16).decode()
            except OSError:
                return  # the program has ended


@contextmanager
def terminal(*args: str, etcd: RealEtcd, columns: int, rows: int = 24, **env: str) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    given = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    given |= {"VMHA_ENDPOINTS": etcd.endpoints[0], "VMHA_CLUSTER": "seen", "TERM": "xterm", **env}
    process = subprocess.Popen(
        [sys.executable, "-m", "vmha", *args], stdin=slave, stdout=slave, stderr=slave, env=given
    )
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(master)


def vmha(etcd: RealEtcd, *args: str) -> None:
    env = {**os.environ, "VMHA_ENDPOINTS": etcd.endpoints[0], "VMHA_CLUSTER": "seen"}
    subprocess.run([sys.executable, "-m", "vmha", *args], env=env, check=True, timeout=DEADLINE_S)


def test_status_has_the_width_of_its_terminal_and_its_colours_unless_told_not_to(
    etcd: RealEtcd, tmp_path: Path
) -> None:
    (tmp_path / "nodes.yaml").write_text(NODES)
    vmha(etcd, "apply", str(tmp_path / "nodes.yaml"))
    lines: dict[int, list[str]] = {}
    for columns in (80, 200):
        with terminal("status", etcd=etcd, columns=columns) as shown:
            assert shown.end() == 0
        assert COLOUR.search(shown.seen)
        lines[columns] = COLOUR.sub("", shown.seen).splitlines()
        assert max(map(len, lines[columns])) <= columns
        assert sum(line.startswith("kvm-") for line in lines[columns]) == 6
    assert len(lines[200]) < len(lines[80])
    with terminal("status", etcd=etcd, columns=80, NO_COLOR="1") as shown:
        assert shown.end() == 0
    assert "\x1b" not in shown.seen
    assert shown.seen.splitlines() == lines[80]


def test_watched_status_is_drawn_over_what_was_there_and_gives_the_terminal_back(
    etcd: RealEtcd, tmp_path: Path
) -> None:
    xml = tmp_path / "watched.xml"
    xml.write_text("<domain type='qemu'><name>watched</name><memory unit='MiB'>64</memory></domain>")
    with terminal("status", "--watch", etcd=etcd, columns=80) as shown:
        drawn = shown.until("no leader", after=shown.until(OTHER_SCREEN + "\x1b[?25l"))
        vmha(etcd, "vm", "add", "watched", "--xml", str(xml))
        again = shown.until(HOME, after=drawn)
        shown.until("watched", after=again)
        shown.process.send_signal(signal.SIGINT)
        shown.end()
    assert shown.seen.count(OTHER_SCREEN) == 1
    assert "\x1b[2J" not in shown.seen  # never empty in between
    assert shown.seen.rstrip().endswith(FORMER_SCREEN)
    assert "Traceback" not in shown.seen
