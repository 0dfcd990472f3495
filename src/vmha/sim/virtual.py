"""Virtual time: an event loop whose clock jumps to the next thing that is due instead of waiting for it.

The simulation runs the same coroutines as real hosts do, an hour in a second, and in the same order every time: there
are no threads, no sockets and no wall clock in it.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from vmha.sim.process import make_task

T = TypeVar("T")

BEGIN_WALL = 1_700_000_000.0


class DeadlockError(RuntimeError):
    """Every task waits for something that no timer will bring about."""


class _JumpingSelector(selectors.SelectSelector):
    """Never blocks: a wait for ``timeout`` seconds moves the clock by that much."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise DeadlockError("nothing is due and nobody can wake anybody")
        self.now += max(0.0, timeout)
        return []  # there are no sockets, and nobody wakes this loop from another thread


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self.set_task_factory(make_task)

    def time(self) -> float:
        return self._jumping.now


class VirtualClock:
    """Both clocks of the simulated world; they never jump."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        return self._loop.time()

    def wall(self) -> float:
        return BEGIN_WALL + self._loop.time()


def run_virtual(main: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run ``main`` to its end on ``loop`` and take down what is left."""
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
