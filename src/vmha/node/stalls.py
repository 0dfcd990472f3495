"""For how long the event loop stood: an agent whose loop stands sends no beat, and hears of nothing.

Between two waits of the loop for the world lies one turn: whatever was due, one after the other. A turn's length, and
by how much the loop woke too late for its next timer, is how long everything else had to wait. Both are seen where
the loop waits, so it costs two readings of the clock a turn, and wakes nobody.

What it does not see: a loop that was waiting for the world alone, without a timer, and was woken late.
"""

import asyncio
import selectors
from dataclasses import dataclass, field

from vmha.model.clock import Clock
from vmha.model.histogram import CALL_S, Histogram


@dataclass(slots=True, eq=False)
class Stalls:
    """``turns``: by their length. ``longest_s``: since the process began."""

    turns: Histogram = field(default_factory=lambda: Histogram(CALL_S))
    longest_s: float = 0.0
    _longest_lately_s: float = 0.0

    def stood(self, seconds: float) -> None:
        self.turns.note(seconds)
        self.longest_s = max(self.longest_s, seconds)
        self._longest_lately_s = max(self._longest_lately_s, seconds)

    def take(self) -> float:
        """The longest since this was last asked, in seconds."""
        longest_s, self._longest_lately_s = self._longest_lately_s, 0.0
        return longest_s


class MeteredSelector(selectors.DefaultSelector):
    """Where a loop waits for the world."""

    def __init__(self, stalls: Stalls, clock: Clock) -> None:
        super().__init__()
        self._stalls, self._clock = stalls, clock
        self._woke_at: float | None = None
        self._late_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        begins_at = self._clock.now()
        if self._woke_at is not None:
            self._stalls.stood(begins_at - self._woke_at + self._late_s)
        events = super().select(timeout)
        self._woke_at = self._clock.now()
        waited_s = self._woke_at - begins_at
        self._late_s = max(0.0, waited_s - timeout) if timeout is not None and timeout > 0 else 0.0
        return events


def metered_loop(stalls: Stalls, clock: Clock) -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(MeteredSelector(stalls, clock))
