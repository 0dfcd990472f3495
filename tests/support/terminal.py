"""The command line as a process on a terminal of its own, which has a width and somebody who types."""

import codecs
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.etcd import RealEtcd
from vmha.model.clock import SystemClock

DEADLINE_S = 60.0


@dataclass(slots=True)
class Terminal:
    """What a program has written to it."""

    master: int
    process: subprocess.Popen[bytes]
    seen: str = field(default="")
    is_over: bool = False
    _decoder: codecs.IncrementalDecoder = field(default_factory=codecs.getincrementaldecoder("utf-8"))

    def until(self, text: str, *, after: int = 0) -> int:
        """Returns where ``text`` ends in what was seen."""
        end_s = SystemClock().now() + DEADLINE_S
        while (at := self.seen.find(text, after)) < 0 and not self.is_over and SystemClock().now() < end_s:
            self._read()
        if at >= 0:
            return at + len(text)
        raise AssertionError(f"{text!r} was not shown: {self.seen[after:]!r}")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self) -> int:
        """Returns its exit code; all that it has written is seen by then."""
        end_s = SystemClock().now() + DEADLINE_S
        while not self.is_over and SystemClock().now() < end_s:
            self._read()
        return self.process.wait(DEADLINE_S)

    def _read(self) -> None:
        """Some of it, which may end in the middle of a letter."""
        ready, _, _ = select.select([self.master], [], [], 0.1)
        if ready:
            try:
                self.seen += self._decoder.decode(os.read(self.master, 1 << 16))
            except OSError:
                self.is_over = True  # the program has ended, and nothing of it is left to be read


@contextmanager
def terminal(
    *args: str, etcd: RealEtcd, cluster: str, columns: int = 80, rows: int = 24, **env: str
) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    given = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    given |= {"VMHA_ENDPOINTS": etcd.endpoints[0], "VMHA_CLUSTER": cluster, "TERM": "xterm", **env}
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
