"""Time as an argument: the one thing that reads clocks is handed in.

``now`` counts seconds on CLOCK_BOOTTIME: it goes on through a suspended machine, which asyncio's clock does not, and
deadlines that safety rests on must count that time. ``wall`` is for people and for records shared between hosts.
"""

import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since boot, suspend included. Never goes back."""

    def wall(self) -> float:
        """Seconds since 1970 in UTC. May jump."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        return time.time()  # noqa: TID251 (the one place that may)


class Patience:
    """Has a question so much time yet? Asked between the parts of a pure answer, which reads no clock itself."""

    def __init__(self, clock: Clock, for_s: float) -> None:
        self._clock, self._ends_at = clock, clock.now() + for_s
        self.is_over = False

    def __call__(self) -> bool:
        """Once it has said no, the answer lacks something: ``is_over``."""
        self.is_over = self.is_over or self._clock.now() >= self._ends_at
        return not self.is_over
