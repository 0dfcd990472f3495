"""Waiting for the world to become as a test says, with a deadline."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from vmha.hypervisor.port import DomainState, DomainView, Hypervisor
from vmha.model.clock import SystemClock

T = TypeVar("T")

_clock = SystemClock()

DEADLINE_S = 30.0
EACH_S = 0.01
OF_THE_WAIT, LONGEST_S = 0.2, 0.5
MORE_AND_MORE_S = (0.5, 2.0, 8.0, 32.0)
"""Times over which a program is ended that is to have begun before: as long as a busy machine lets it."""


async def eventually(look: Callable[[], Awaitable[T]], *, within_s: float = DEADLINE_S, each_s: float = EACH_S) -> T:
    """Look every ``each_s`` seconds until what is seen is true; returns it."""
    seen: object = "nothing"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while True:
                seen = result = await look()
                if result:
                    return result
                await asyncio.sleep(each_s)
    raise AssertionError(f"not within {within_s:g} s; last seen: {seen!r}")


def look_until(look: Callable[[], T], *, what: str = "", within_s: float = DEADLINE_S, each_s: float = EACH_S) -> T:
    """As ``eventually``, where there is no event loop. Looks cost programs that are started for them, and there is no
    second processor to spare: the longer it has been waited, the longer until the next one."""
    begin_s = _clock.now()
    while not (found := look()):
        waited_s = _clock.now() - begin_s
        assert waited_s < within_s, f"not within {within_s:g} s: {what}; last seen: {found!r}"
        time.sleep(min(max(each_s, waited_s * OF_THE_WAIT), LONGEST_S))
    return found


async def find(side: Hypervisor, name: str) -> DomainView | None:
    return next((view for view in await side.inventory() if view.name == name), None)


async def see(side: Hypervisor, name: str, state: DomainState) -> DomainView:
    """Wait until ``name`` is in ``state`` on ``side``."""

    async def look() -> DomainView | None:
        view = await find(side, name)
        return view if view is not None and view.state is state else None

    return await eventually(look)


async def see_gone(side: Hypervisor, name: str) -> None:
    async def look() -> bool:
        return await find(side, name) is None

    await eventually(look)
