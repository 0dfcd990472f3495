"""How long something took, counted in buckets: what can still be added up over nodes, and asked for its quantiles.

Counts only grow. Whoever measures notes one value; whoever is asked reads ``cumulative`` and ``total``.
"""

from collections.abc import Sequence
from itertools import accumulate

CALL_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Bounds for an answer over the network, or a piece of work of the processor."""
STANDSTILL_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Bounds for how long a guest stands still."""
FAILOVER_S = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Bounds for a recovery and its parts."""
MIGRATION_S = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Bounds for a migration from its begin to its end."""


class Histogram:
    """``bounds``: the upper bounds of its buckets, growing; one without a bound comes after them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        assert list(bounds) == sorted(set(bounds))
        self.bounds = tuple(bounds)
        self.total = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def note(self, value: float) -> None:
        value = max(0.0, value)
        self._counts[sum(bound < value for bound in self.bounds)] += 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def cumulative(self) -> list[tuple[float, int]]:
        """For each bound, the last one infinite: how many values were no greater."""
        return list(zip((*self.bounds, float("inf")), accumulate(self._counts), strict=True))
