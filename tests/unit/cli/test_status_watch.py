"""``vmha status --watch`` on a real terminal: however it is ended, the terminal is as it was before."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.support.waiting import look_until

OTHER_SCREEN, FORMER_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
CURSOR_SHOWN = b"\x1b[?25h"
PATIENCE_S = 90.0


@dataclass(kw_only=True)
class Terminal:
    """``said``: all that was written to it."""

    master: int
    slave: int
    process: subprocess.Popen[bytes]
    said: bytes = b""

    def read_until(self, words: bytes) -> None:
        def has_said() -> bool:
            if select.select([self.master], [], [], 0)[0]:
                self.said += os.read(self.master, 65536)
            return words in self.said

        look_until(has_said, what=f"{words!r} on the terminal", within_s=PATIENCE_S, each_s=0.05)


@contextmanager
def watching() -> Iterator[Terminal]:
    """Nobody answers where it asks, which it tells and goes on."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "vmha", "--endpoints", "127.0.0.1:9", "status", "--watch"]
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    try:
        yield Terminal(master=master, slave=slave, process=process)
    finally:
        process.kill()
        process.wait()
        os.close(slave)
        os.close(master)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)], ids=["TERM", "HUP", "INT"]
)
def test_terminal_is_as_it_was_whatever_ends_it(number: signal.Signals, code: int) -> None:
    with watching() as terminal:
        before = termios.tcgetattr(terminal.slave)
        terminal.read_until(b"cannot reach cluster")
        assert OTHER_SCREEN in terminal.said
        assert FORMER_SCREEN not in terminal.said
        terminal.process.send_signal(number)
        terminal.read_until(FORMER_SCREEN)
        assert terminal.process.wait(PATIENCE_S) == code
        assert termios.tcgetattr(terminal.slave) == before
        assert CURSOR_SHOWN in terminal.said
        assert b"Traceback" not in terminal.said
        assert terminal.said.rindex(FORMER_SCREEN) > terminal.said.rindex(OTHER_SCREEN)
        assert OTHER_SCREEN not in terminal.said.partition(FORMER_SCREEN)[2]


def test_it_ends_also_when_its_terminal_is_gone() -> None:
    with watching() as terminal:
        terminal.read_until(b"cannot reach cluster")
        other, slave = pty.openpty()
        os.dup2(other, terminal.master)  # which closes the one that there was
        os.close(other)
        os.close(slave)
        terminal.process.send_signal(signal.SIGHUP)
        assert terminal.process.wait(PATIENCE_S) == 129
