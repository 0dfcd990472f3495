"""Lines of the log are written beside the event loop: it must not wait for whoever reads them, nor end by them.

journald may stand still with the disk that it writes to, a pipe's reader may be gone, a file's disk may be full. An
agent that waited for that would send no beats, and its guests would end; so would those of one that ended by the error
and could not be started again. What finds no room is left out, and how much that was is told as soon as there is room.
"""

import atexit
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable

MOST_BYTES = 4 * 1024 * 1024
"""Kept for a reader that is slow: an hour of a quiet agent, seconds of one that tells a lot."""
LAST_WORDS_S = 1.0
"""For so long the end of the process waits for what is not written yet."""


class Beside:
    """A stream for ``print``. ``tell_lost`` is called, in a thread, with the number of lines that were left out."""

    def __init__(self, fd: int, *, tell_lost: Callable[[int], object], most_bytes: int = MOST_BYTES) -> None:
        self._fd, self._tell_lost, self._most_bytes = fd, tell_lost, most_bytes
        self._part: list[str] = []
        self._lines: deque[bytes] = deque()
        self._held_bytes = self._lost = 0
        self._news = threading.Condition()
        self._is_at_work = False
        threading.Thread(target=self._write_on, name="log", daemon=True).start()
        atexit.register(self.drain, LAST_WORDS_S)

    def write(self, text: str) -> int:
        self._part.append(text)
        return len(text)

    def flush(self) -> None:
        """What was written since the last time is one line. Never waits."""
        line = "".join(self._part).encode(errors="replace")
        self._part.clear()
        with self._news:
            if self._held_bytes + len(line) > self._most_bytes:
                self._lost += 1
                return
            self._lines.append(line)
            self._held_bytes += len(line)
            self._news.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Wait until all is written, or given up. False: it is not."""
        with self._news:
            return self._news.wait_for(lambda: not self._lines and not self._is_at_work, timeout_s)

    def _write_on(self) -> None:
        while True:
            with self._news:
                self._is_at_work = False
                self._news.notify_all()
                self._news.wait_for(lambda: bool(self._lines))
                line = self._lines.popleft()
                self._held_bytes -= len(line)
                self._is_at_work = True
            is_written = self._write_one(line)
            with self._news:
                self._lost += not is_written
                lost = self._lost if is_written else 0
                self._lost -= lost
            if lost:
                with contextlib.suppress(Exception):  # nothing ends this thread
                    self._tell_lost(lost)

    def _write_one(self, line: bytes) -> bool:
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except OSError:
            return False
        return True
