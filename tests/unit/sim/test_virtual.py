"""Virtual time goes on for whoever waits, however short."""

import asyncio

from vmha.sim.world.virtual import VirtualLoop, run_virtual


def test_a_wait_shorter_than_what_time_can_show_ends_later_than_it_began() -> None:
    loop = VirtualLoop()

    async def wait() -> float:
        await asyncio.sleep(1000.0)
        began = loop.time()
        await asyncio.sleep(1e-14)
        return loop.time() - began

    assert 0.0 < run_virtual(wait(), loop) < 1e-3


def test_sleeps_that_are_over_leave_nothing_to_be_sorted_out() -> None:
    loop = VirtualLoop()

    async def sleep() -> None:
        for _ in range(10):
            await asyncio.sleep(1.0)

    run_virtual(sleep(), loop)
    assert loop.cancelled_timers == 0
