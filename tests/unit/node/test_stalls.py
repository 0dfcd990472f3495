"""For how long the loop stands is measured, told, and kept short where Python itself would stop."""

import asyncio
import gc
from dataclasses import dataclass

from vmha.node.garbage import spare_the_long_lived
from vmha.node.stalls import Stalls, metered_loop


@dataclass(slots=True)
class Hand:
    """A clock that goes on by hand, and by itself with ``tick_s`` at each reading."""

    at: float = 0.0
    tick_s: float = 0.0

    def now(self) -> float:
        self.at += self.tick_s
        return self.at

    def wall(self) -> float:
        return self.at


def test_loop_that_is_held_up_says_for_how_long() -> None:
    clock, stalls = Hand(), Stalls()

    def hold_up(seconds: float) -> None:
        clock.at += seconds

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        for seconds in (0.003, 0.3):
            loop.call_soon(hold_up, seconds)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=lambda: metered_loop(stalls, clock)) as runner:
        runner.run(scene())
    assert round(stalls.longest_s, 6) == 0.3
    assert round(stalls.turns.total, 6) == 0.303
    up_to = dict(stalls.turns.cumulative())
    assert (stalls.turns.count - up_to[0.25], up_to[0.5] - up_to[0.25], up_to[0.25] - up_to[0.0025]) == (1, 1, 1)
    assert (round(stalls.take(), 6), stalls.take()) == (0.3, 0.0)


def test_loop_that_is_woken_too_late_for_its_timer_says_so() -> None:
    """So it is when the process was stopped, or another thread of it held Python's lock."""
    clock, stalls = Hand(tick_s=1.0), Stalls()

    async def scene() -> None:
        await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=lambda: metered_loop(stalls, clock)) as runner:
        runner.run(scene())
    assert stalls.longest_s > 1.9  # a second for the turn, by this clock, and nearly one in which the timer was due


def test_what_outlives_a_long_search_for_garbage_is_not_searched_again() -> None:
    clock, thresholds = Hand(tick_s=1.0), gc.get_threshold()
    undo = spare_the_long_lived(clock)
    try:
        before = gc.get_freeze_count()
        long_lived = [[number] for number in range(1000)]
        gc.collect()
        assert gc.get_freeze_count() >= before + len(long_lived)
        clock.tick_s = 0.0
        before = gc.get_freeze_count()
        more = [[number] for number in range(1000)]
        gc.collect()
        assert gc.get_freeze_count() < before + len(more)
    finally:
        undo()
    assert (gc.get_freeze_count(), gc.get_threshold()) == (0, thresholds)
