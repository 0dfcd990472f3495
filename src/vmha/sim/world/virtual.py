"""Virtual time: an event loop whose clock jumps to the next thing that is due instead of waiting for it.

The simulation runs the same coroutines as real hosts do, an hour in some seconds, and in the same order every time:
there are no threads, no sockets and no wall clock in it. The loop is written for speed: it asks no selector, its heap
compares numbers, and it asks a process (``process.Process``) for leave only when somebody is about to do it harm.
"""

import asyncio
import contextvars
import itertools
from asyncio import futures
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextvars import copy_context
from functools import partial
from heapq import heapify, heappop, heappush
from typing import Any, Final, TypeVar

from vmha.sim.world.process import PROCESS, Process, make_task
from vmha.store.bell import wake

T = TypeVar("T")

BEGIN_WALL = 1_700_000_000.0
TICK_S = 1e-6
"""Whoever waits for less waits for this: a wait that ends at the instant at which it began may begin again for ever."""
_TIMERS_WORTH_SORTING_OUT = 512
_end_sleep: Final[Callable[..., object]] = futures._set_result_unless_cancelled  # type: ignore[attr-defined]
_Due = tuple[float, int, "_Handle"]
"""In a heap it sorts by time and then by number."""
_new: Final[Callable[[type["_Handle"]], "_Handle"]] = object.__new__


class DeadlockError(RuntimeError):
    """Every task waits for something that no timer will bring about."""


class _Handle:
    """What the loop will call. Made often, so it is filled by those who make it. Without a callback it is cancelled."""

    __slots__ = ("args", "callback", "context", "loop", "when_s")

    args: tuple[Any, ...]
    callback: Callable[..., object] | None
    context: contextvars.Context
    loop: "VirtualLoop"
    when_s: float

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback, self.args = None, ()
            self.loop.cancelled_timers += 1

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self.when_s

    def __repr__(self) -> str:
        return f"<call of {self.callback} at {self.when_s:.3f}>"


class VirtualLoop(asyncio.BaseEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.create_future = partial(asyncio.Future, loop=self)  # type: ignore[method-assign]
        self._soon: deque[_Handle] = deque()
        self._due: list[_Due] = []
        self._numbers = itertools.count()
        self._task_numbers = itertools.count(1)
        self.cancelled_timers = 0
        self._is_closing = False
        self._standing: dict[int, Process] = {}
        self.set_task_factory(lambda loop, coro, **options: make_task(next(self._task_numbers), loop, coro, **options))

    get_debug = staticmethod(bool)
    """No. In C, because every future that is made asks."""

    def time(self) -> float:
        return self.now_s

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = _new(_Handle)
        handle.callback, handle.args, handle.loop, handle.when_s = callback, args, self, self.now_s
        handle.context = copy_context() if context is None else context
        self._soon.append(handle)
        return handle  # type: ignore[return-value]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = _new(_Handle)
        handle.callback, handle.args, handle.loop, handle.when_s = callback, args, self, when
        handle.context = copy_context() if context is None else context
        heappush(self._due, (when, next(self._numbers), handle))
        return handle  # type: ignore[return-value]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        if 0.0 < delay < TICK_S:
            delay = TICK_S
        handle = _new(_Handle)
        handle.callback, handle.args, handle.loop, handle.when_s = callback, args, self, self.now_s + delay
        handle.context = copy_context() if context is None else context
        heappush(self._due, (handle.when_s, next(self._numbers), handle))
        return handle  # type: ignore[return-value]

    call_soon_threadsafe = call_soon  # type: ignore[assignment]
    """There is one thread. Asked for when a watch that nobody reads any more is to be closed."""

    def take_back(self, handles: Iterable[Any]) -> None:
        """Calls that were kept because their process stood."""
        self._soon.extend(handles)

    def let_everybody_go_on(self) -> None:
        """The end: processes that stand could not be taken down otherwise."""
        self._is_closing = True
        for process in self._standing.values():
            kept, process.kept = process.kept, []
            self.take_back(kept)

    def _run_once(self) -> None:
        """Rounds, each as asyncio makes it: what is due, in order of time; then everything that was ready by then.

        Until somebody stops the loop: to come back after each round only to be called again costs more than the round.
        """
        soon, due, popleft, append, now_s = self._soon, self._due, self._soon.popleft, self._soon.append, self.now_s
        while True:
            if self.cancelled_timers > _TIMERS_WORTH_SORTING_OUT:
                due[:] = [one for one in due if one[2].callback is not None]
                heapify(due)
                self.cancelled_timers = 0
            if not soon:
                while due and due[0][2].callback is None:
                    heappop(due)
                if not due:
                    raise DeadlockError("nothing is due and nobody can wake anybody")
                now_s = self.now_s = max(now_s, due[0][0])
            until = now_s + 1e-9
            while due and due[0][0] <= until:
                handle = heappop(due)[2]
                if handle.callback is not None:
                    append(handle)
            for _ in range(len(soon)):
                handle = popleft()
                callback = handle.callback
                if callback is None:
                    continue
                context = handle.context
                process = context.get(PROCESS)
                if process is not None and process.is_watched and not self._is_closing and not process.may_step():
                    process.kept.append(handle)
                    self._standing[id(process)] = process
                    continue
                handle.callback = None  # done: whoever cancels it now, as each sleep does, leaves nothing to sort out
                if callback is wake or callback is _end_sleep:  # most are, and what they do needs no context
                    waiter = handle.args[0]
                    if not waiter.done():
                        waiter.set_result(None if callback is wake else handle.args[1])
                    continue
                try:
                    context.run(callback, *handle.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.call_exception_handler(
                        {"message": f"error in {callback!r}", "exception": error, "handle": handle}
                    )
            if self._stopping:  # type: ignore[attr-defined]
                return


class VirtualClock:
    """Both clocks of the simulated world; they never jump."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop

    def now(self) -> float:
        return self.loop.now_s

    def wall(self) -> float:
        return BEGIN_WALL + self.loop.now_s


class HostClock:
    """One host's clocks: the wall clock may jump, and both may run a little fast or slow."""

    def __init__(self, true: VirtualClock) -> None:
        self._true, self._loop = true, true.loop  # everybody asks all the time: no detours
        self._ahead_s = 0.0
        self.drift = 0.0
        """Seconds gained in each second."""

    def jump(self, seconds: float) -> None:
        """The wall clock is set."""
        self._ahead_s += seconds

    def set_right(self) -> None:
        self._ahead_s = 0.0

    def now(self) -> float:
        return self._loop.now_s * (1.0 + self.drift)

    def wall(self) -> float:
        return self._true.wall() + self._ahead_s


def run_virtual(main: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run ``main`` to its end on ``loop`` and take down what is left."""
    try:
        return loop.run_until_complete(main)
    finally:
        loop.let_everybody_go_on()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
