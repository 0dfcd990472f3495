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
