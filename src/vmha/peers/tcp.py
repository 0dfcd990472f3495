"""The channel over TCP: a listener for whoever proves to know the secret, and kept connections to the peers.

A connection carries one question at a time; pings and promises have connections of their own, so that neither waits
for the other. One that did not answer in time is closed, so that a late answer is never taken for the next one's.

Everything a stranger can do is bounded: bytes (``wire.MAX_BODY_BYTES``), time (a deadline on every read and write),
and the number of connections.
"""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from vmha.model.clock import Clock
from vmha.model.ids import NodeName
from vmha.peers import wire
from vmha.peers.port import AgentSilent, Answer, Answerer, HostSilent, Peer, Request, Unwelcome
from vmha.peers.tls import PeersTls

log = structlog.get_logger(__name__)

HANDSHAKE_S = 2.0
IDLE_S = 30.0
ANSWER_S = 2.0
LISTEN_AGAIN_S = 2.0
MOST_CONNECTIONS = 512
TOLD_AGAIN_S = 60.0
"""A stranger is told of in the log once in this time, per address."""

KERNEL_TICK_S = 0.02
"""The kernel counts times of a connection in ticks."""
_LAST_ACK_AT = 8 + 4 * 12
"""Where struct tcp_info (linux/tcp.h) keeps tcpi_last_ack_recv: milliseconds since the peer's kernel acknowledged."""


def log_refusal(who: str, why: str, accepted: str) -> None:
    log.warning("refused on the peers' channel", who=who, why=why, accepted=accepted)


class TcpChannel:
    """``vmha.peers.port.Channel``.

    Args:
        listen: host and port to listen at; port 0: any.
        address: what peers are told; empty: host and port as listened at.
        tls: what each end shows and asks for; None: frames are signed, and go in clear.
        tell_refusal: who was refused, why, and what is accepted.
        make_nonce: fresh random bytes.
    """

    def __init__(
        self,
        *,
        node: NodeName,
        cluster: str,
        secret: bytes,
        listen: tuple[str, int],
        address: str,
        clock: Clock,
        tls: PeersTls | None = None,
        tell_refusal: Callable[[str, str, str], None] = log_refusal,
        make_nonce: Callable[[], bytes] = lambda: os.urandom(wire.NONCE_BYTES),
    ) -> None:
        self._tell_refusal, self._tls = tell_refusal, tls
        self._node, self._cluster = node, cluster
        self._key = wire.cluster_key(secret, cluster)
        self._listen, self._address, self._clock, self._make_nonce = listen, address, clock, make_nonce
        self._links: dict[tuple[str, type], _Link] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._told_at: dict[str, float] = {}
        self.listening = asyncio.Event()

    @property
    def address(self) -> str:
        return self._address

    # --- answering

    async def run(self, answer: Answerer) -> None:
        try:
            while True:
                try:
                    server = await asyncio.start_server(self._accept(answer), *self._listen, limit=wire.MAX_BODY_BYTES)
                except OSError as error:
                    log.error("peers can not reach this agent", listen=self._listen, why=str(error))
                    await asyncio.sleep(LISTEN_AGAIN_S)
                    continue
                if not self._address:
                    host, port = server.sockets[0].getsockname()[:2]
                    self._address = f"{host}:{port}"
                self.listening.set()
                try:
                    await asyncio.get_running_loop().create_future()  # for ever
                finally:
                    server.close()  # and not waiting: those who are connected may stay as long as they like
        finally:
            for task in list(self._serving):
                task.cancel()
            for link in self._links.values():
                link.close()

    def _accept(self, answer: Answerer) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._serving) >= MOST_CONNECTIONS:
                writer.transport.abort()
                return
            task = asyncio.get_running_loop().create_task(self._serve(reader, writer, answer), name="peer")
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

        return accepted

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answerer) -> None:
        name = writer.get_extra_info("peername")
        who, is_known = str(name[0]) if name else "?", False
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                peer, seals = await self._greet(reader, writer)
            is_known = True
            while True:
                async with asyncio.timeout(IDLE_S):
                    mac, body = await wire.read_frame(reader)
                if not wire.is_same(mac, seals[0].mac(body)):
                    raise wire.Garbled("a message was not made by who opened the connection")
                said = wire.pack(answer(peer, wire.unpack(Request, body)))
                writer.write(wire.frame(seals[1].mac(said), said))
                async with asyncio.timeout(ANSWER_S):
                    await writer.drain()
        except wire.Garbled as error:
            self._tell(who, str(error))
        except TimeoutError:
            if not is_known:
                self._tell(who, f"it did not greet within {HANDSHAKE_S:g} s")
        except (OSError, asyncio.IncompleteReadError):
            pass  # it went away
        except Exception:  # a question that nobody foresaw must not take the agent with it
            log.exception("a peer's question failed", peer=who)
        finally:
            writer.transport.abort()

    async def _greet(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[NodeName, tuple[wire.Seal, wire.Seal]]:
        if self._tls:
            await self._tls.begin(writer, is_server=True)
        ours = self._make_nonce()
        writer.write(ours)
        mac, body = await wire.read_frame(reader)
        if not wire.is_same(mac, wire.client_hello_mac(self._key, ours, body)):
            raise wire.Garbled(f"it does not know the secret of cluster {self._cluster}")
        hello = wire.Hello.unpack(body)
        if hello.to != self._node:
            raise wire.Garbled(f"it looks for node {hello.to}; this is {self._node}")
        if self._tls:
            self._tls.check(writer, hello.node)
        said = wire.Hello(self._node, hello.node, ours).pack()
        writer.write(wire.frame(wire.server_hello_mac(self._key, ours, hello.nonce, said), said))
        await writer.drain()
        to_us = wire.Seal(self._key, b"to server", ours, hello.nonce)
        return hello.node, (to_us, wire.Seal(self._key, b"to client", ours, hello.nonce))

    def _tell(self, who: str, why: str) -> None:
        now = self._clock.now()
        if now - self._told_at.get(who, float("-inf")) < TOLD_AGAIN_S:
            return
        self._told_at = {name: at for name, at in self._told_at.items() if now - at < TOLD_AGAIN_S} | {who: now}
        self._tell_refusal(who, why, f"agents of cluster {self._cluster} with its secret, asking for {self._node}")

    # --- asking

    async def ask(self, peer: Peer, request: Request, *, timeout_s: float) -> Answer:
        link = self._links.get((peer.node, type(request)))
        if link is None or link.peer != peer:
            if link is not None:
                link.close()
            link = self._links[peer.node, type(request)] = _Link(
                self._node, peer, self._key, self._make_nonce, self._tls
            )
        return await link.ask(request, timeout_s)


class _Link:
    """One kept connection to one peer, made when it is needed."""

    def __init__(
        self, node: NodeName, peer: Peer, key: bytes, make_nonce: Callable[[], bytes], tls: PeersTls | None
    ) -> None:
        self.peer = peer
        self._node, self._key, self._make_nonce, self._tls = node, key, make_nonce, tls
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._seals: tuple[wire.Seal, wire.Seal] | None = None
        self._turn = asyncio.Lock()

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
        self._streams = self._seals = None

    async def ask(self, request: Request, timeout_s: float) -> Answer:
        begun = asyncio.get_running_loop().time()
        async with self._mind(begun), asyncio.timeout(timeout_s), self._turn:
            was_kept = self._streams is not None
            try:
                return await self._exchange(request)
            except (ConnectionError, asyncio.IncompleteReadError):
                if not was_kept:
                    raise
            self.close()  # it went stale: its agent was restarted, or had heard nothing for long
            return await self._exchange(request)

    async def _exchange(self, request: Request) -> Answer:
        reader, writer, (ours, theirs) = await self._connected()
        body = wire.pack(request)
        writer.write(wire.frame(ours.mac(body), body))
        mac, said = await wire.read_frame(reader)
        if not wire.is_same(mac, theirs.mac(said)):
            raise wire.Garbled("its answer was not made by who was asked")
        answer: Answer = wire.unpack(Answer, said)
        return answer

    async def _connected(
        self,
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, tuple[wire.Seal, wire.Seal]]:
        if self._streams is None or self._seals is None:
            host, _, port = self.peer.address.rpartition(":")
            self._streams = await asyncio.open_connection(host.strip("[]"), int(port), limit=wire.MAX_BODY_BYTES)
            self._seals = await self._greet(*self._streams)
        return *self._streams, self._seals

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[wire.Seal, wire.Seal]:
        if self._tls:
            await self._tls.begin(writer, is_server=False)
            self._tls.check(writer, self.peer.node)
        theirs = await self._hear_nonce(reader)
        hello = wire.Hello(self._node, self.peer.node, self._make_nonce())
        body = hello.pack()
        writer.write(wire.frame(wire.client_hello_mac(self._key, theirs, body), body))
        try:
            mac, said = await wire.read_frame(reader)
        except (ConnectionResetError, asyncio.IncompleteReadError) as error:
            raise wire.Garbled("it closed the connection at our greeting: another secret or cluster?") from error
        if not wire.is_same(mac, wire.server_hello_mac(self._key, theirs, hello.nonce, said)):
            raise wire.Garbled("it does not know our secret")
        if wire.Hello.unpack(said).node != self.peer.node:
            raise wire.Garbled("another node answers there")
        ours = wire.Seal(self._key, b"to server", theirs, hello.nonce)
        return ours, wire.Seal(self._key, b"to client", theirs, hello.nonce)

    async def _hear_nonce(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readexactly(wire.NONCE_BYTES)
        except (ConnectionResetError, asyncio.IncompleteReadError, ssl.SSLError) as error:
            if self._tls is None:
                raise
            # By now it has seen our certificate, and what it thinks of it is heard no sooner than this.
            raise wire.Garbled("it closed the connection at our certificate: another authority?") from error

    @asynccontextmanager
    async def _mind(self, begun: float) -> AsyncIterator[None]:
        """What went wrong, in the port's words; the connection is not used again."""
        where = f"{self.peer.node} at {self.peer.address}"
        try:
            yield
        except BaseException as error:
            acknowledged = self._has_acknowledged_since(begun)
            self.close()
            match error:
                case wire.Garbled():
                    raise Unwelcome(f"{where}: {error}") from error
                case TimeoutError() if acknowledged:
                    raise AgentSilent(f"{where}: its host lives, its agent does not answer") from error
                case TimeoutError():
                    raise HostSilent(f"{where} gives no sign of life") from error
                case ConnectionError() | asyncio.IncompleteReadError():
                    raise AgentSilent(f"{where}: no agent answers there") from error
                case OSError(errno=errno.ETIMEDOUT | errno.EHOSTUNREACH | errno.ENETUNREACH | errno.EHOSTDOWN):
                    raise HostSilent(f"{where} can not be reached: {error.strerror}") from error
                case OSError() | ValueError() | OverflowError():
                    raise HostSilent(f"{where} can not be reached: {error}") from error
                case Exception():  # what nobody foresaw must not take the agent with it
                    log.exception("asking a peer failed", peer=where)
                    raise AgentSilent(f"{where}: {error!r}") from error
                case _:
                    raise

    def _has_acknowledged_since(self, begun: float) -> bool:
        """Did the peer's kernel acknowledge anything since then? That a connection was made is such a sign, too."""
        if self._streams is None:
            return False
        sock = self._streams[1].get_extra_info("socket")
        with contextlib.suppress(OSError, struct.error):
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_ACK_AT + 4)
            (since_ms,) = struct.unpack_from("=I", info, _LAST_ACK_AT)
            return bool(since_ms / 1000 < asyncio.get_running_loop().time() - begun + KERNEL_TICK_S)
        return False
