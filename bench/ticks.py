"""The witness guest's disk as a stop watch: every tick rewrites its second sector, and any process may read it.

The image is read where the storage server writes it, so nothing stands between the write and the look but the look's
own period.
"""

import os
import time
from pathlib import Path

from vmha.lab.witness.entry import HEAD_OFFSET, SECTOR, Entry, find_entry
from vmha.model.clock import SystemClock

LOOK_S = 0.002
TIMEOUT_S = 90.0
_clock = SystemClock()


def now_s() -> float:
    """Seconds of a clock that runs on evenly."""
    return _clock.now()


class Ticks:
    """The newest tick on one disk."""

    def __init__(self, image: Path) -> None:
        self._image = image
        self._fd = os.open(image, os.O_RDONLY)

    def close(self) -> None:
        os.close(self._fd)

    def head(self) -> Entry | None:
        return find_entry(os.pread(self._fd, SECTOR, HEAD_OFFSET))

    def boots(self) -> int:
        """How many boots have ticked."""
        head = self.head()
        return head.boots if head else 0

    def await_boot(self, number: int, *, timeout_s: float = TIMEOUT_S) -> float:
        """The instant at which boot ``number`` was seen to tick, in seconds of ``now_s``."""
        end_s = now_s() + timeout_s
        while self.boots() < number:
            if now_s() > end_s:
                raise TimeoutError(f"boot {number} did not tick on {self._image.name} within {timeout_s:g} s")
            time.sleep(LOOK_S)
        return now_s()

    def await_progress(self, ticks: int = 3, *, timeout_s: float = TIMEOUT_S) -> None:
        """Return when it has ticked so many times more: the guest runs now."""
        end_s = now_s() + timeout_s
        head = self.head()
        goal = (head.seq if head else 0) + ticks
        while not (found := self.head()) or found.seq < goal:
            if now_s() > end_s:
                raise TimeoutError(f"no ticks on {self._image.name} within {timeout_s:g} s")
            time.sleep(LOOK_S)
