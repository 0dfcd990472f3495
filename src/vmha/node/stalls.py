"""For how long the event loop stood: an agent whose loop stands sends no beat, and hears of nothing.

Between two waits of the loop for the world lies one turn: whatever was due, one after the other. A turn's length, and
by how much the loop woke too late for its next timer, is how long everything else had to wait. Both are seen where
the loop waits, so it costs two readings of the clock a turn, and wakes nobody.

What it does not see: a loop that was waiting for the world alone, without a timer, and was woken late.
"""

import selectors
from collections.abc import Callable
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
    """Where a loop waits for the world. ``between``: is done between two turns, as part of the one that is over."""

    def __init__(self, stalls: Stalls, clock: Clock, between: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._stalls, self._clock, self._between = stalls, clock, between
        self._woke_at: float | None = None
        self._late_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._end_turn()
        begins_at = self._clock.now()
        events = super().select(timeout)
        self._woke_at = self._clock.now()
        waited_s = self._woke_at - begins_at
        self._late_s = max(0.0, waited_s - timeout) if timeout is not None and timeout > 0 else 0.0
        return events

    def _end_turn(self) -> None:
        self._between()
        if self._woke_at is not None:
            self._stalls.stood(self._clock.now() - self._woke_at + self._late_s)
