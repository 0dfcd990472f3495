"""The connections to one libvirtd: opened, kept alive, opened again when lost.

One connection a purpose, so that slow work of one kind never stands in the way of another, each with a lane of calls::

    look      lists, states, capacity; also carries the events
    ask       questions that a frozen QEMU leaves unanswered: job statistics
    act       destroy, shutdown, suspend, resume, metadata, abort
    start     createXML, which waits for storage and hooks
    migrate   migrations, minutes each

A connection that closes takes the whole set with it: a new set is opened, with growing pauses, and the old one is
abandoned, not waited for. Calls still in it end in their daemon threads. On every new set the callbacks are registered
*before* the first list is read, so that nothing falls between the two.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from vmha.hypervisor import binding
from vmha.hypervisor.calls import Call, Lane
from vmha.hypervisor.port import HypervisorUnavailable
from vmha.hypervisor.translate import words
from vmha.model.clock import Clock

if TYPE_CHECKING:
    import libvirt

T = TypeVar("T")

KEEPALIVE = (2, 3)
"""Seconds between two probes, and how many may stay unanswered: a frozen libvirtd is given up after 8 s."""
OPEN_TIMEOUT_S = 5.0
OPENS_AT_ONCE = 3
"""Opening may hang as long as libvirtd is frozen; this bounds the threads that wait there."""
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 2.0
PURPOSES = ("look", "ask", "act", "start", "migrate")

Register = Callable[["libvirt.virConnect"], list[int]]


class Channel:
    """One connection and its lane."""

    def __init__(self, purpose: str, connection: "libvirt.virConnect") -> None:
        self._connection = connection
        self._lane = Lane(purpose)

    @property
    def is_full(self) -> bool:
        return self._lane.is_full

    async def call(
        self,
        work: Callable[["libvirt.virConnect"], T],
        *,
        what: str,
        timeout_s: float,
        when_late: Callable[[T], None] | None = None,
    ) -> T:
        return await self._lane.call(
            lambda: work(self._connection), what=what, timeout_s=timeout_s, when_late=when_late
        )

    async def begin(self, work: Callable[["libvirt.virConnect"], T]) -> Call[T]:
        return await self._lane.begin(lambda: work(self._connection))


class Channels:
    """One set of connections. ``events`` are the callbacks registered on the first."""

    def __init__(self, connections: dict[str, "libvirt.virConnect"], events: list[int]) -> None:
        self._connections = connections
        self._events = events
        self.look, self.ask, self.act, self.start, self.migrate = (
            Channel(purpose, connections[purpose]) for purpose in PURPOSES
        )

    def dispose(self) -> None:
        """Let the set go, in a thread: a dead connection may refuse to, a frozen one hang.

        The connections are not closed but forgotten: libvirt frees a closed one under a call still running in it, while
        Python's last reference, which that call's thread holds, closes it at the right moment.
        """
        threading.Thread(target=self._dispose, name="libvirt-dispose", daemon=True).start()

    def _dispose(self) -> None:
        import libvirt

        for event in self._events:
            with contextlib.suppress(libvirt.libvirtError):
                self._connections["look"].domainEventDeregisterAny(event)
        for connection in self._connections.values():
            with contextlib.suppress(libvirt.libvirtError):
                connection.unregisterCloseCallback()
        self._connections.clear()


class Link:
    """Keeps a set of channels open.

    Args:
        uri: libvirt's address.
        register: registers the event callbacks on a connection; runs in a thread.
        on_up: awaited after each (re)connection, before it counts; an error there closes it again.
        on_down: called when the connection is lost, with the reason.
    """

    def __init__(
        self,
        uri: str,
        *,
        clock: Clock,
        register: Register,
        on_up: Callable[[Channels], Awaitable[None]],
        on_down: Callable[[str], None],
    ) -> None:
        self._uri = uri
        self._clock = clock
        self._register = register
        self._on_up = on_up
        self._on_down = on_down
        self._opening = Lane("open", limit=OPENS_AT_ONCE)
        self._channels: Channels | None = None
        self._attempt: _Attempt | None = None
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._trouble = "not opened"
        self._down_since = clock.now()

    @property
    def channels(self) -> Channels:
        """
        Raises:
            HypervisorUnavailable: there is no connection at this time.
        """
        if self._channels is None:
            seconds = self._clock.now() - self._down_since
            raise HypervisorUnavailable(f"no connection to {self._uri} for {seconds:.1f} s: {self._trouble}")
        return self._channels

    async def open(self) -> None:
        """
        Raises:
            HypervisorUnavailable: libvirtd cannot be reached, or is frozen.
            Rejected: there is no binding to libvirt.
        """
        binding.ensure_loaded()
        await self._connect()
        self._keeper = asyncio.create_task(self._keep(), name=f"libvirt-link {self._uri}")

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        self._drop("closed")

    async def _keep(self) -> None:
        while True:
            await self._lost.wait()
            pause_s = BACKOFF_FIRST_S
            while self._channels is None:
                try:
                    await self._connect()
                except HypervisorUnavailable as error:
                    self._trouble = str(error)
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, BACKOFF_MAX_S)

    async def _connect(self) -> None:
        import libvirt

        loop = asyncio.get_running_loop()
        self._lost.clear()
        attempt = self._attempt = _Attempt(loop, self._on_lost)
        try:
            channels = await self._opening.call(
                lambda: self._open_all(attempt),
                what=f"open {self._uri}",
                timeout_s=OPEN_TIMEOUT_S,
                when_late=Channels.dispose,
            )
        except libvirt.libvirtError as error:
            raise HypervisorUnavailable(f"cannot open {self._uri}: {words(error)}") from error
        try:
            await self._on_up(channels)
        except BaseException:
            channels.dispose()
            raise
        if self._lost.is_set():
            channels.dispose()
            raise HypervisorUnavailable(f"{self._uri} closed the connection at once: {self._trouble}")
        self._channels = channels

    def _open_all(self, attempt: "_Attempt") -> Channels:
        """Blocking: the whole set, callbacks included."""
        import libvirt

        connections: dict[str, libvirt.virConnect] = {}
        try:
            for purpose in PURPOSES:
                connection = connections[purpose] = libvirt.open(self._uri)
                connection.setKeepAlive(*KEEPALIVE)
                connection.registerCloseCallback(attempt, None)
            return Channels(connections, self._register(connections["look"]))
        except BaseException:
            _close_all(connections)
            raise

    def _on_lost(self, attempt: "_Attempt", reason: int) -> None:
        """One connection of a set has closed. News of a set given up earlier is no news."""
        if attempt is self._attempt:
            self._drop({0: "error", 1: "end of file", 2: "no answer to keepalives"}.get(reason, f"reason {reason}"))
            self._lost.set()

    def _drop(self, trouble: str) -> None:
        channels, self._channels = self._channels, None
        self._trouble = f"connection closed ({trouble})"
        if channels is not None:
            self._down_since = self._clock.now()
            channels.dispose()
            self._on_down(trouble)


class _Attempt:
    """One attempt to open a set. As its connections' close callback it tells the loop when the first one closes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tell: Callable[["_Attempt", int], None]) -> None:
        self._loop = loop
        self._tell = tell
        self._told = False

    def __call__(self, _connection: object, reason: int, _opaque: object) -> None:
        """Runs in libvirt's event thread."""
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop has closed
                self._loop.call_soon_threadsafe(self._tell, self, reason)


def _close_all(connections: dict[str, "libvirt.virConnect"]) -> None:
    import libvirt

    for connection in connections.values():
        with contextlib.suppress(libvirt.libvirtError):
            connection.unregisterCloseCallback()
            connection.close()
