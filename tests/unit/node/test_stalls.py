"""For how long the loop stands is measured, told, and kept short where Python itself would stop."""

import asyncio
import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass

from vmha.model import keys
from vmha.model.clock import SystemClock
from vmha.node.garbage import OFTEN, TOO_MUCH, sparing_the_long_lived
from vmha.node.responsive import SWITCH_S, responsive
from vmha.node.stalls import MeteredSelector, Stalls


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

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(MeteredSelector(stalls, clock))) as runner:
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

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(MeteredSelector(stalls, clock))) as runner:
        runner.run(scene())
    assert stalls.longest_s > 1.9  # a second for the turn, by this clock, and nearly one in which the timer was due


def after_young_searches(count: int, look: Callable[[], None]) -> None:
    gc.collect()
    while gc.get_count()[1] < count:
        gc.collect(0)
    look()


def test_of_pythons_own_searches_for_garbage_only_the_shortest_are_left() -> None:
    with sparing_the_long_lived(Hand()):
        before = [generation["collections"] for generation in gc.get_stats()]
        kept = [[number] for number in range(100_000)]
        after = [generation["collections"] for generation in gc.get_stats()]
    assert kept
    assert after[0] > before[0]
    assert after[1:] == before[1:]


def test_what_is_too_much_for_one_search_is_left_out_without_one() -> None:
    with sparing_the_long_lived(Hand()) as look:
        before = gc.get_freeze_count()
        more = [[number] for number in range(1000)]
        after_young_searches(TOO_MUCH + 1, look)
        assert gc.get_freeze_count() >= before + len(more)


def test_what_outlives_a_long_search_for_garbage_is_not_searched_again() -> None:
    clock, thresholds = Hand(tick_s=1.0), gc.get_threshold()

    with sparing_the_long_lived(clock) as look:
        before = gc.get_freeze_count()
        long_lived = [[number] for number in range(1000)]
        after_young_searches(OFTEN, look)
        assert gc.get_freeze_count() >= before + len(long_lived)
        clock.tick_s = 0.0
        before = gc.get_freeze_count()
        more = [[number] for number in range(1000)]
        after_young_searches(OFTEN, look)
        assert gc.get_freeze_count() < before + len(more)
    assert (gc.get_freeze_count(), gc.get_threshold()) == (0, thresholds)


def test_garbage_is_searched_for_between_two_turns_and_counts_for_the_one_that_is_over() -> None:
    clock, stalls = Hand(), Stalls()

    def search() -> None:
        clock.at += 0.2

    async def scene() -> None:
        await asyncio.sleep(0)

    waits = MeteredSelector(stalls, clock, search)
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(waits)) as runner:
        runner.run(scene())
    assert round(stalls.longest_s, 6) == 0.2


def test_agents_process_is_set_up_before_its_loop_begins_and_is_as_it_was_afterwards() -> None:
    """Readers of records that are made in the middle of a listing would hold up the loop, one after the other."""
    before, thresholds, stalls = sys.getswitchinterval(), gc.get_threshold(), Stalls()

    async def scene() -> None:
        assert sys.getswitchinterval() == SWITCH_S < before
        assert gc.get_threshold() != thresholds
        assert {kind for _, kind in keys.KEY_TYPES} <= keys._ADAPTERS.keys()
        await asyncio.sleep(0)

    with responsive(stalls, SystemClock()) as runner:
        runner.run(scene())
    assert stalls.turns.count > 0
    assert (sys.getswitchinterval(), gc.get_threshold()) == (before, thresholds)
