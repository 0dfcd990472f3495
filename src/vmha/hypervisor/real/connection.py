"""The connections to one libvirtd: opened, kept alive, opened again when lost.

A call has a connection to itself while it runs. libvirt says that threads may share one, but its client library before
10.4 (Debian 12 has 9.0) leaves a pointer to one thread's stack behind when a second thread's call interrupts the first
(CVE-2024-4418): the process dies of it, most of all when libvirtd hangs. And libvirtd serves five requests of a
connection at a time, then stops reading it, keepalives included, so that five hung calls get it closed.

Calls go by purpose, so that slow work of one kind never stands in the way of another::

    look      lists, states, capacity
    ask       questions that a frozen QEMU leaves unanswered: job statistics
    act       shutdown, suspend, resume, metadata, abort
    start     createXML, which waits for storage and hooks
    migrate   migrations, minutes each
    monitor   whether a QEMU answers at all (see ``monitor_watch``)
    end       destroy: what hangs at a QEMU in the others is freed by ending it

One more connection carries the events, and nothing else. When it closes, everything is opened anew, with growing
pauses, and the old set is abandoned, not waited for: calls still in it end in their daemon threads. On every new set
the callbacks are registered *before* the first list is read, so that nothing falls between the two.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from vmha.hypervisor.calls import Call, Lane
from vmha.hypervisor.port import HypervisorUnavailable
from vmha.hypervisor.real import binding
from vmha.hypervisor.real.translate import words
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
Register = Callable[["libvirt.virConnect"], list[int]]


class Channel:
    """The calls of one purpose, each on a connection of its own, kept for the next."""

    def __init__(self, purpose: str, uri: str) -> None:
        self._uri = uri
        self._lane = Lane(purpose)
        self._lock = threading.Lock()
        self._idle: list[libvirt.virConnect] = []
        self._is_disposed = False

    @property
    def is_full(self) -> bool:
        return self._lane.is_full

    async def call(
        self,
        work: Callable[["libvirt.virConnect"], T],
        *,
        what: str,
        timeout_s: float,
        when_late: Callable[["libvirt.virConnect", T], None] | None = None,
    ) -> T:
        """See ``Lane.call``; ``when_late`` gets a connection as well."""
        late = None if when_late is None else self._make_late(when_late)
        return await self._lane.call(lambda: self._run(work), what=what, timeout_s=timeout_s, when_late=late)

    async def begin(self, work: Callable[["libvirt.virConnect"], T]) -> Call[T]:
        return await self._lane.begin(lambda: self._run(work))

    def fail_all(self, reason: str) -> None:
        self._lane.fail_all(reason)

    def dispose(self) -> None:
        """Blocking. Connections in use are closed as their calls end."""
        with self._lock:
            self._is_disposed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            _close(connection)

    def _run(self, work: Callable[["libvirt.virConnect"], T]) -> T:
        """In a lane's thread."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or _open(self._uri)
        try:
            return work(connection)
        finally:
            self._give_back(connection)

    def _give_back(self, connection: "libvirt.virConnect") -> None:
        if _is_alive(connection):
            with self._lock:
                if not self._is_disposed:
                    self._idle.append(connection)
                    return
        _close(connection)

    def _make_late(self, when_late: Callable[["libvirt.virConnect", T], None]) -> Callable[[T], None]:
        import libvirt

        def late(result: T) -> None:
            with contextlib.suppress(libvirt.libvirtError):
                self._run(lambda connection: when_late(connection, result))

        return late


class Channels:
    """One set: the channels, and the connection that carries the events."""

    def __init__(self, uri: str, carrier: "libvirt.virConnect", events: list[int]) -> None:
        self._carrier = carrier
        self._events = events
        self.look = Channel("look", uri)
        self.ask = Channel("ask", uri)
        self.act = Channel("act", uri)
        self.start = Channel("start", uri)
        self.migrate = Channel("migrate", uri)
        self.end = Channel("end", uri)
        self.save = Channel("save", uri)  # writing and reading a guest's memory takes minutes, and must hold up nothing
        self.monitor = Channel("monitor", uri)
        self._every = (self.look, self.ask, self.act, self.start, self.migrate, self.end, self.save, self.monitor)

    def fail_all(self, reason: str) -> None:
        """Whoever waits for a call on this set learns now that no answer will be worth waiting for."""
        for channel in self._every:
            channel.fail_all(reason)

    def dispose(self) -> None:
        """Let the set go, in a thread: a frozen libvirtd may hold that up."""
        threading.Thread(target=self._dispose, name="libvirt-dispose", daemon=True).start()

    def _dispose(self) -> None:
        import libvirt

        for event in self._events:
            with contextlib.suppress(libvirt.libvirtError):
                self._carrier.domainEventDeregisterAny(event)
        with contextlib.suppress(libvirt.libvirtError):
            self._carrier.unregisterCloseCallback()
        _close(self._carrier)
        for channel in self._every:
            channel.dispose()


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
        """Blocking. The connection of the events is the one whose loss is heard of."""
        carrier = _open(self._uri)
        try:
            carrier.registerCloseCallback(attempt, None)
            return Channels(self._uri, carrier, self._register(carrier))
        except BaseException:
            _close(carrier)
            raise

    def _on_lost(self, attempt: "_Attempt", reason: int) -> None:
        """The connection of the events has closed. News of a set given up earlier is no news."""
        if attempt is self._attempt:
            self._drop({0: "error", 1: "end of file", 2: "no answer to keepalives"}.get(reason, f"reason {reason}"))
            self._lost.set()

    def _drop(self, trouble: str) -> None:
        channels, self._channels = self._channels, None
        self._trouble = f"connection closed ({trouble})"
        if channels is not None:
            self._down_since = self._clock.now()
            channels.fail_all(f"the connection to {self._uri} closed ({trouble})")
            channels.dispose()
            self._on_down(trouble)


class _Attempt:
    """One attempt to open a set; as the close callback of its connection, it tells the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tell: Callable[["_Attempt", int], None]) -> None:
        self._loop = loop
        self._tell = tell

    def __call__(self, _connection: object, reason: int, _opaque: object) -> None:
        """Runs in libvirt's event thread."""
        with contextlib.suppress(RuntimeError):  # the loop has closed
            self._loop.call_soon_threadsafe(self._tell, self, reason)


def _open(uri: str) -> "libvirt.virConnect":
    import libvirt

    connection = libvirt.open(uri)
    connection.setKeepAlive(*KEEPALIVE)
    return connection


def _is_alive(connection: "libvirt.virConnect") -> bool:
    import libvirt

    try:
        return connection.isAlive() == 1
    except libvirt.libvirtError:
        return False


def _close(connection: "libvirt.virConnect") -> None:
    import libvirt

    with contextlib.suppress(libvirt.libvirtError):
        connection.close()
