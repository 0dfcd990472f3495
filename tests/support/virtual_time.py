"""An event loop whose clock jumps to the next timer: an hour of waiting takes no time, and every run is the same."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at 1000 s. Only for code that waits by timers, not on sockets or threads."""

    def __init__(self) -> None:
        super().__init__(_Jumping(self))
        self._virtual_now_s = 1000.0

    def time(self) -> float:
        return self._virtual_now_s

    def jump(self, seconds: float) -> None:
        self._virtual_now_s += seconds


class _Jumping(selectors.DefaultSelector):
    """Never waits: the time that it was to wait has passed."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits for something that no timer brings")
        self._loop.jump(max(0.0, timeout))
        return super().select(0)


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Runs ``main`` to its end on virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
