"""Frozen processes: they stand still while everybody's time goes on, and nothing that reached them is lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from vmha.sim.world.process import Process
from vmha.sim.world.virtual import DeadlockError, VirtualLoop, run_virtual


def test_an_hour_passes_at_once_and_exactly() -> None:
    loop = VirtualLoop()
    run_virtual(asyncio.sleep(3600), loop)
    assert loop.time() == 3600


def test_waiting_for_what_no_timer_brings_is_an_error_not_a_hang() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError):
        run_virtual(wait(), VirtualLoop())


def ticks_of(frozen_from: float, frozen_until: float, until: float) -> list[float]:
    loop = VirtualLoop()
    process = Process()
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            ticks.append(loop.time())
            await asyncio.sleep(1.0)

    async def scene() -> None:
        task = loop.create_task(tick(), context=process.context())
        loop.call_at(frozen_from, process.stand)
        loop.call_at(frozen_until, process.go_on)
        await asyncio.sleep(until)
        task.cancel()

    run_virtual(scene(), loop)
    return ticks


def test_frozen_task_makes_no_step_and_goes_on_at_the_thaw() -> None:
    assert ticks_of(2.5, 7.25, 10.0) == [0.0, 1.0, 2.0, 7.25, 8.25, 9.25]


def test_tasks_made_by_a_frozen_host_are_frozen_as_well() -> None:
    loop, process = VirtualLoop(), Process()
    ended: list[float] = []

    async def child() -> None:
        await asyncio.sleep(1.0)
        ended.append(loop.time())

    async def parent() -> None:
        await asyncio.create_task(child())

    async def scene() -> None:
        task = loop.create_task(parent(), context=process.context())
        loop.call_at(0.5, process.stand)
        loop.call_at(5.0, process.go_on)
        await task

    run_virtual(scene(), loop)
    assert ended == [5.0]


def test_deadline_that_comes_during_the_freeze_is_met_at_the_thaw() -> None:
    loop, process = VirtualLoop(), Process()
    seen: list[float] = []

    async def wait() -> None:
        try:
            async with asyncio.timeout(2.0):
                await asyncio.sleep(3600)
        except TimeoutError:
            seen.append(loop.time())

    async def scene() -> None:
        task = loop.create_task(wait(), context=process.context())
        loop.call_at(1.0, process.stand)
        loop.call_at(9.0, process.go_on)
        await task

    run_virtual(scene(), loop)
    assert seen == [9.0]


def test_a_generator_that_nobody_reads_any_more_is_closed(recwarn: pytest.WarningsRecorder) -> None:
    loop, closed = VirtualLoop(), []

    async def watch() -> AsyncIterator[int]:
        try:
            for number in range(9):
                yield number
        finally:
            closed.append("watch")

    async def read_one() -> None:
        async for _ in watch():
            break
        await asyncio.sleep(1.0)
        assert closed == ["watch"]

    run_virtual(read_one(), loop)
    assert [str(warning.message) for warning in recwarn] == []
