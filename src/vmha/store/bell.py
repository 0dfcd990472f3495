"""A bell: whoever sees something change rings it, and one task waits for it, for so long at most.

What ``asyncio.timeout`` around ``Event.wait`` does, without cancelling the task each time the wait is over: every agent
waits like this several times a second for as long as it lives.
"""

import asyncio


class Bell:
    """Rung until it is cleared. One task may wait at a time."""

    __slots__ = ("_rings", "_waiter")

    def __init__(self) -> None:
        self._rings = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._rings = True
        if self._waiter is not None:
            wake(self._waiter)

    def clear(self) -> None:
        self._rings = False

    async def wait(self, seconds: float) -> bool:
        """Until it is rung, or ``seconds`` have passed. Whether it was."""
        if not self._rings:
            assert self._waiter is None, "somebody waits already"
            loop = asyncio.get_running_loop()
            self._waiter = waiter = loop.create_future()
            timer = loop.call_later(seconds, wake, waiter)
            try:
                await waiter
            finally:
                self._waiter = None
                timer.cancel()
        return self._rings


def wake(waiter: "asyncio.Future[None]") -> None:
    """Ends its wait; whoever waited may have given up."""
    if not waiter.done():
        waiter.set_result(None)
