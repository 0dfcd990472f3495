"""Blocking calls off the event loop, each with a deadline of its own, never more than a few at once.

Every call of libvirt blocks its thread, and some block without limit: opening a connection to a frozen libvirtd,
anything that talks to a frozen QEMU. So a call runs in a daemon thread that nobody waits for at exit, the waiting side
gives up at its deadline, and the thread keeps its slot until the call really returns.

The limit keeps hung calls from using up libvirtd's workers. asyncio's default executor is not used: its few threads
also resolve names for the etcd client, and a hung one keeps the process from exiting.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vmha.hypervisor.port import HypervisorUnavailable

T = TypeVar("T")

IN_FLIGHT_MAX = 4
"""Calls at once in one lane."""


class CallOverdue(HypervisorUnavailable):
    """No answer within the deadline. A call that was begun may still be carried out later."""

    def __init__(self, message: str, *, is_begun: bool) -> None:
        super().__init__(message)
        self.is_begun = is_begun


@dataclass(slots=True, kw_only=True, eq=False)
class Call(Generic[T]):
    """One call under way. ``future`` is set on the event loop when the thread returns."""

    future: "asyncio.Future[T]"
    when_late: Callable[[T], None] | None = None
    is_abandoned: bool = False


class Lane:
    """Up to ``limit`` blocking calls at once."""

    def __init__(self, name: str, *, limit: int = IN_FLIGHT_MAX) -> None:
        self.name = name
        self._limit = limit
        self._slots = asyncio.Semaphore(limit)
        self._calls: set[Call[Any]] = set()

    @property
    def in_flight(self) -> int:
        """Calls whose thread has not returned, given up or not."""
        return len(self._calls)

    @property
    def is_full(self) -> bool:
        return self._slots.locked()

    async def call(
        self,
        work: Callable[[], T],
        *,
        what: str,
        timeout_s: float,
        when_late: Callable[[T], None] | None = None,
    ) -> T:
        """Run ``work`` in a thread and wait for it, slot included, for ``timeout_s``.

        Args:
            work: the blocking call; its exceptions come out here.
            what: for the error's words, e.g. "list the domains".
            timeout_s: seconds.
            when_late: run in a thread of its own with the result of a call that was given up and then succeeded.

        Raises:
            CallOverdue: no answer in time.
        """
        call: Call[T] | None = None
        try:
            async with asyncio.timeout(timeout_s):
                call = await self.begin(work)
                call.when_late = when_late
                return await call.future
        except TimeoutError as error:
            if call is not None:
                if call.future.done() and not call.future.cancelled():
                    return call.future.result()  # the answer and the deadline met on the doorstep
                call.is_abandoned = True
            message = f"libvirtd did not answer within {timeout_s:g} s: {what}"
            raise CallOverdue(message, is_begun=call is not None) from error

    async def begin(self, work: Callable[[], T]) -> Call[T]:
        """Wait for a slot and start ``work``; the caller awaits ``future`` with a deadline of its own."""
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        call: Call[T] = Call(future=loop.create_future())
        self._calls.add(call)

        def run() -> None:
            try:
                result = work()
            except BaseException as error:
                _post(loop, self._fail, call, error)
            else:
                _post(loop, self._succeed, call, result)

        threading.Thread(target=run, name=f"libvirt-{self.name}", daemon=True).start()
        return call

    def fail_all(self, reason: str) -> None:
        """Whoever waits for a call need not wait for its deadline. What becomes of the calls is not known."""
        for call in tuple(self._calls):
            if not call.future.done():
                call.future.set_exception(HypervisorUnavailable(reason))

    def _succeed(self, call: Call[T], result: T) -> None:
        self._release(call)
        if not call.future.done():
            call.future.set_result(result)
        elif call.is_abandoned and call.when_late is not None:
            threading.Thread(
                target=call.when_late, args=(result,), name=f"libvirt-{self.name}-late", daemon=True
            ).start()

    def _fail(self, call: Call[T], error: BaseException) -> None:
        self._release(call)
        if not call.future.done():
            call.future.set_exception(error)

    def _release(self, call: Call[T]) -> None:
        self._calls.discard(call)
        self._slots.release()


def _post(loop: asyncio.AbstractEventLoop, deliver: Callable[..., None], *args: object) -> None:
    try:
        loop.call_soon_threadsafe(deliver, *args)
    except RuntimeError:  # the loop has closed: nobody waits any more
        return
