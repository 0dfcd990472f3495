"""What a killed process wrote and its kernel has not sent: it arrives, unless the connection was told to forget it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from vmha.fencing.unsent import forget_unsent

WRITER = """\
import socket, sys
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
pair = socket.socketpair()
connection.setblocking(False)
written = 0
try:
    while True:
        written += connection.send(b"x" * 65536)
except BlockingIOError:
    print(written, flush=True)
sys.stdin.read()
"""
TIMEOUT_S = 120.0


class Full:
    """A process whose connection is full: the other side, ``reader``, has read nothing yet."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(TIMEOUT_S)
            self.process = subprocess.Popen(
                [sys.executable, "-c", WRITER, str(server.getsockname()[1])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self.reader, _ = server.accept()
        self.reader.settimeout(TIMEOUT_S)
        assert self.process.stdout is not None
        self.written = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(TIMEOUT_S)

    def read_all(self) -> tuple[int, bool]:
        """How much arrives, and whether the connection was ended in an orderly way."""
        count = 0
        try:
            while data := self.reader.recv(1 << 20):
                count += len(data)
        except ConnectionResetError:
            return count, False
        return count, True


@pytest.fixture
def full() -> Iterator[Full]:
    made = Full()
    yield made
    made.process.kill()
    made.process.wait(TIMEOUT_S)
    made.reader.close()
    for stream in (made.process.stdin, made.process.stdout):
        assert stream is not None
        stream.close()


def test_kernel_sends_the_last_words_of_a_killed_process(full: Full) -> None:
    """The danger itself: were this not so, nothing would have to be told."""
    full.kill()
    assert full.read_all() == (full.written, True)


def test_connection_that_was_told_to_forget_sends_nothing_more(full: Full) -> None:
    pidfd = os.pidfd_open(full.process.pid)
    try:
        assert forget_unsent(full.process.pid, pidfd) == 1
    finally:
        os.close(pidfd)
    full.kill()
    arrived, orderly = full.read_all()
    assert arrived < full.written
    assert not orderly


def test_telling_a_living_process_changes_nothing_for_it(full: Full) -> None:
    pidfd = os.pidfd_open(full.process.pid)
    forget_unsent(full.process.pid, pidfd)
    os.close(pidfd)
    assert full.reader.recv(1000) == b"x" * 1000
    assert full.process.poll() is None


def test_process_that_is_gone_has_nothing_to_be_told(full: Full) -> None:
    pidfd = os.pidfd_open(full.process.pid)
    full.kill()
    assert forget_unsent(full.process.pid, pidfd) == 0
    os.close(pidfd)
