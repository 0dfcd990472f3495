"""A cable to one etcd member, with hands on it: it delays, is cut, or loses one answer or one request on purpose.

gRPC's messages pass uncompressed, so that a request can be told by a piece of what it writes. Losing an answer closes
the connection once the member has answered: the write is done, and the client can not know. Losing a request closes it
before anything was sent: the write is not done, and to the client it looks the same.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field

_CHUNK = 65536


@dataclass(slots=True)
class Loss:
    """The next request that contains ``piece``, on whichever relay it comes, is lost; ``done``: only its answer is."""

    piece: bytes
    done: bool
    has_happened: bool = False


@dataclass(slots=True)
class Relay:
    """``endpoint`` is where clients connect to; everything goes to ``port`` on the loopback address."""

    port: int
    delay_s: float = 0.0
    losses: list[Loss] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _open: set[asyncio.Task[None]] = field(default_factory=set)
    _is_cut: bool = False

    @property
    def endpoint(self) -> str:
        assert self._server
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    def cut(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._is_cut = True

    def heal(self) -> None:
        self._is_cut = False
        for task in self._open:  # what was swallowed is gone: these connections can not go on
            task.cancel()

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._open.add(task)
        answer_is_lost = asyncio.Event()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            back, forth = await asyncio.open_connection("127.0.0.1", self.port)
            ways = [
                asyncio.create_task(self._pass_requests(reader, forth, answer_is_lost)),
                asyncio.create_task(self._pass_answers(back, writer, answer_is_lost)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                forth.transport.abort()
        writer.transport.abort()
        self._open.discard(task)

    async def _pass_requests(
        self, reader: asyncio.StreamReader, forth: asyncio.StreamWriter, answer_is_lost: asyncio.Event
    ) -> None:
        tail = b""
        while data := await reader.read(_CHUNK):
            loss = self._find_loss(tail + data)
            tail = data[-200:]
            if loss is not None:
                loss.has_happened = True
                if not loss.done:
                    return
                answer_is_lost.set()
            if not self._is_cut:
                forth.write(data)
                await forth.drain()

    async def _pass_answers(
        self, back: asyncio.StreamReader, writer: asyncio.StreamWriter, answer_is_lost: asyncio.Event
    ) -> None:
        """An answer to be lost ends the connection: a little later, so that the member has done what was asked."""
        loop = asyncio.get_running_loop()
        is_first = True  # the handshake is not delayed: it is the member that is slow, not the network
        on_their_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivering = asyncio.create_task(self._deliver(on_their_way, writer))
        try:
            while data := await back.read(_CHUNK):
                if answer_is_lost.is_set():
                    await asyncio.sleep(0.05)
                    return
                on_their_way.put_nowait((loop.time() + (0.0 if is_first else self.delay_s), data))
                is_first = False
        finally:
            delivering.cancel()

    async def _deliver(self, on_their_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        """Each answer is as late as the others: a slow member is at work on all of them at once."""
        while True:
            due_at, data = await on_their_way.get()
            await asyncio.sleep(max(0.0, due_at - asyncio.get_running_loop().time()))
            if not self._is_cut:
                writer.write(data)
                await writer.drain()

    def _find_loss(self, data: bytes) -> Loss | None:
        return next((loss for loss in self.losses if not loss.has_happened and loss.piece in data), None)
