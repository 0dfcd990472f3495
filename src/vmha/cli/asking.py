"""A question to somebody at a terminal, who may also press Ctrl-C.

Not ``input``: it hears nothing of an interrupt that comes between its look at the signals and its read of the terminal,
and none of the first one while asyncio runs, which takes SIGINT for itself.
"""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


def typed_line(question: str, *, on: TextIO | None = None) -> str:
    """What is typed on standard input, a terminal, until the end of the line or of the input ("": neither was given).
    Of the main thread.

    Raises:
        KeyboardInterrupt: whenever Ctrl-C is pressed from here on, in the middle of a line too.
    """
    shown = on or sys.stdout
    terminal = sys.stdin.fileno()
    typed = b""
    with _heard() as ear:
        print(question, end="", file=shown, flush=True)
        while not typed.endswith(b"\n"):
            ready, _, _ = select.select([terminal, ear], [], [])
            if ear in ready:
                os.read(ear, 4096)  # the signal's handler has run by now, and has not raised: it was another one
            if terminal in ready:
                if not (piece := os.read(terminal, 4096)):
                    break
                typed += piece
    return typed.decode(errors="replace").strip()


def agreed(question: str, *, on: TextIO | None = None) -> bool:
    return typed_line(question, on=on).lower() in ("y", "yes")


@contextmanager
def _heard() -> Iterator[int]:
    """SIGINT is KeyboardInterrupt; a descriptor that is readable once a signal has come, so that a wait ends by it."""
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    try:
        yield ear
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGINT, handler)
        os.close(ear)
        os.close(mouth)
