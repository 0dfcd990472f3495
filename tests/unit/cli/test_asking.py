"""Questions to somebody at a terminal: every line, and every Ctrl-C, is heard."""

import os
import pty
import signal
import sys
from collections.abc import Iterator
from io import StringIO
from threading import Thread

import pytest

from vmha.cli.asking import agreed, typed_line


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """What is written to it is typed on standard input."""
    master, slave = pty.openpty()
    with os.fdopen(slave) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield master
    os.close(master)


@pytest.mark.parametrize(
    ("typed", "answer"), [("n1\n", "n1"), ("  n1 \n", "n1"), ("n1\x04\n", "n1"), ("n1\x04\x04", "n1"), ("\x04", "")]
)
def test_answer_is_the_line_or_what_was_typed_before_the_end(keyboard: int, typed: str, answer: str) -> None:
    os.write(keyboard, typed.encode())
    shown = StringIO()
    assert (typed_line("Which? ", on=shown), shown.getvalue()) == (answer, "Which? ")


@pytest.mark.parametrize(("typed", "is_agreed"), [("y\n", True), ("Yes\n", True), ("\n", False), ("yn\n", False)])
def test_only_a_yes_agrees(keyboard: int, typed: str, is_agreed: bool) -> None:
    os.write(keyboard, typed.encode())
    assert agreed("Shall I? ", on=StringIO()) is is_agreed


def test_interrupt_that_does_not_disturb_the_wait_is_heard_all_the_same(keyboard: int) -> None:
    """As one does that comes an instant before the wait begins: another thread takes it here."""
    before = (signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    def another_has_it_open() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
        os.kill(os.getpid(), signal.SIGINT)

    class Asked(StringIO):
        """Once the question is shown, somebody presses Ctrl-C."""

        def flush(self) -> None:
            other.start()

    other = Thread(target=another_has_it_open)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        with pytest.raises(KeyboardInterrupt):
            typed_line("Which? ", on=Asked())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before[1])
        other.join()
    assert signal.getsignal(signal.SIGINT) == before[0]
