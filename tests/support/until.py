"""Waiting for the world to be as a test expects, with a deadline instead of a sleep and a hope."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool | Awaitable[bool]], *, what: str = "", timeout_s: float = 15.0) -> None:
    """Return as soon as ``condition`` holds.

    Raises:
        AssertionError: it did not within ``timeout_s``; the message says ``what`` was waited for.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + timeout_s
    while True:
        holds = condition()
        if not isinstance(holds, bool):
            holds = await holds
        if holds:
            return
        if loop.time() > give_up_at:
            raise AssertionError(f"not within {timeout_s:g} s: {what or condition}")
        await asyncio.sleep(0.01)
