"""Without a guard a node must receive nothing, from the instant on at which the guard is gone (law 4).

    guard answers --its connection closes, or it does not answer--> told at once: not armed, so not eligible;
         ^                                                          the next beat is sent at once, and says so too
         +------- asked again and again, with the last committed beat --<--+

The beats tell others what ends this node's guests when nobody answers any more, so they must not go on promising a
guard that is gone. Bringing it back is not this process's work: systemd's (or the lab's first process's) is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from vmha.fencing.port import Guard, GuardStatus
from vmha.model.records import ArmedLevel
from vmha.store.bell import Bell

log = structlog.get_logger(__name__)

ASK_AGAIN_S = 0.25


class Guarded(Protocol):
    """What this needs of a session."""

    guard: GuardStatus | None
    over: asyncio.Event
    hurry: Bell

    @property
    def armed(self) -> ArmedLevel: ...


async def watch_guard(
    session: Guarded, guard: Guard, *, tell: Callable[[], Awaitable[None]], on_change: Callable[[], None]
) -> None:
    """Until the session is over.

    Args:
        tell: gives the guard the last committed beat, arming it anew if need be, and notes what it answers.
        on_change: the armed level has changed.
    """
    while not session.over.is_set():
        if session.armed is not ArmedLevel.NONE:
            await guard.gone()
            log.error("the guard is gone: this node receives no vms until it is back")
            session.guard = None
            session.hurry.set()
            on_change()
        await asyncio.sleep(ASK_AGAIN_S)  # in every round: a guard that is gone for good must not make this turn
        await tell()
