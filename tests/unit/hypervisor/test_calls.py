"""Bounded calls: deadlines, slots, late answers."""

import asyncio
import threading

import pytest

from tests.support.waiting import eventually
from vmha.hypervisor.calls import CallOverdue, Lane
from vmha.hypervisor.port import HypervisorUnavailable


async def returned(lane: Lane) -> None:
    async def look() -> bool:
        return lane.in_flight == 0

    await eventually(look)


async def test_answer_and_error_of_a_call_come_out() -> None:
    lane = Lane("test")
    assert await lane.call(lambda: 42, what="count", timeout_s=60) == 42
    with pytest.raises(ZeroDivisionError):
        await lane.call(lambda: 1 / 0, what="divide", timeout_s=60)
    await returned(lane)


async def test_hung_call_is_given_up_at_its_deadline_and_keeps_its_slot_until_it_returns() -> None:
    lane, gate = Lane("test", limit=1), threading.Event()
    with pytest.raises(CallOverdue, match=r"within 0.05 s: hang") as caught:
        await lane.call(gate.wait, what="hang", timeout_s=0.05)
    assert caught.value.is_begun
    assert lane.is_full
    with pytest.raises(CallOverdue) as caught:
        await lane.call(lambda: 1, what="wait for a slot", timeout_s=0.05)
    assert not caught.value.is_begun
    gate.set()
    assert await lane.call(lambda: 1, what="count", timeout_s=60) == 1


async def test_no_more_calls_at_once_than_there_are_slots() -> None:
    lane, gate = Lane("test", limit=2), threading.Event()
    running = [asyncio.create_task(lane.call(gate.wait, what="wait", timeout_s=60)) for _ in range(5)]

    async def look() -> bool:
        return lane.in_flight == 2

    await eventually(look)
    await asyncio.sleep(0)
    assert lane.in_flight == 2
    gate.set()
    assert await asyncio.gather(*running) == [True] * 5


async def test_late_answer_of_a_call_given_up_is_undone_in_a_thread() -> None:
    lane, gate, undone = Lane("test"), threading.Event(), threading.Event()

    def work() -> str:
        gate.wait()
        return "made"

    with pytest.raises(CallOverdue):
        await lane.call(work, what="make", timeout_s=0.05, when_late=lambda made: undone.set())
    gate.set()
    assert await asyncio.to_thread(undone.wait, 60)


async def test_cancelled_call_is_not_undone() -> None:
    lane, gate, undone = Lane("test"), threading.Event(), threading.Event()
    call = asyncio.create_task(lane.call(gate.wait, what="make", timeout_s=60, when_late=lambda _: undone.set()))

    async def look() -> bool:
        return lane.in_flight == 1

    await eventually(look)
    call.cancel()
    await asyncio.wait([call])
    gate.set()
    await returned(lane)
    assert not undone.is_set()


async def test_lost_connection_answers_whoever_waits() -> None:
    lane, gate = Lane("test"), threading.Event()
    call = asyncio.create_task(lane.call(gate.wait, what="wait", timeout_s=60))

    async def look() -> bool:
        return lane.in_flight == 1

    await eventually(look)
    lane.fail_all("the connection closed")
    with pytest.raises(HypervisorUnavailable, match="closed"):
        await call
    gate.set()
    await returned(lane)


def test_hung_call_does_not_keep_the_loop_from_ending() -> None:
    async def main() -> None:
        with pytest.raises(CallOverdue):
            await Lane("test").call(threading.Event().wait, what="hang for ever", timeout_s=0.05)

    asyncio.run(main())
