"""Shows progress while somebody waits, on standard error: one moving line on a terminal, else a line per change."""

import asyncio
import sys
from typing import TYPE_CHECKING

from vmha.cli.output import screen

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient
    from vmha.operator.follow import Goal

_FRAMES = "|/-\\"
_TICK_S = 0.2


async def wait_shown(client: "OperatorClient", goal: "Goal", *, timeout_s: float) -> str:
    """As ``vmha.operator.follow.wait``, showing each piece of progress."""
    from vmha.operator.follow import wait

    line = ProgressLine()
    ticking = asyncio.create_task(line.run(), name="progress line")
    try:
        return await wait(client, goal, timeout_s=timeout_s, tell=line.tell)
    finally:
        ticking.cancel()
        await asyncio.wait([ticking])
        line.clear()


class ProgressLine:
    """What is known of the progress, with the seconds it has taken so far."""

    def __init__(self) -> None:
        self._screen = screen(sys.stderr)
        self._text = ""
        self._ticks = 0

    def tell(self, text: str) -> None:
        self._text = text
        if self._screen.width is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._draw()

    async def run(self) -> None:
        while self._screen.width is not None:
            await asyncio.sleep(_TICK_S)
            self._ticks += 1
            self._draw()

    def clear(self) -> None:
        if self._screen.width is not None:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _draw(self) -> None:
        if not self._text or self._screen.width is None:
            return
        frame = _FRAMES[self._ticks % len(_FRAMES)]
        text = f"{frame} {self._text} ({self._ticks * _TICK_S:.0f} s)"
        print(f"\r\x1b[K{text[: self._screen.width - 1]}", end="", file=sys.stderr, flush=True)
