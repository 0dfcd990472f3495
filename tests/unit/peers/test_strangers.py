"""Strangers on the peers' port: refused with words, bounded in bytes and time, and nobody else notices."""

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.until import until
from vmha.model.clock import SystemClock
from vmha.model.ids import NodeName
from vmha.peers import tcp, wire
from vmha.peers.port import Answer, HostSilent, Peer, Ping, Pong, Request, Unwelcome
from vmha.peers.tcp import TcpChannel

A, B = NodeName("a"), NodeName("b")
SECRET = b"a secret that only these two know"
TIMEOUT_S = 60.0


def answer(asker: NodeName, request: Request) -> Answer:
    return Pong()


Told = list[tuple[str, str, str]]


def channel(node: NodeName, *, secret: bytes = SECRET, cluster: str = "c", told: Told | None = None) -> TcpChannel:
    def tell(who: str, why: str, accepted: str) -> None:
        if told is not None:
            told.append((who, why, accepted))

    listen, clock = ("127.0.0.1", 0), SystemClock()
    return TcpChannel(
        node=node, cluster=cluster, secret=secret, listen=listen, address="", clock=clock, tell_refusal=tell
    )


@pytest.fixture
def told() -> Told:
    return []


@pytest_asyncio.fixture
async def served(told: Told) -> AsyncIterator[TcpChannel]:
    here = channel(B, told=told)
    task = asyncio.create_task(here.run(answer))
    async with asyncio.timeout(TIMEOUT_S):
        await here.listening.wait()
    yield here
    task.cancel()
    await asyncio.wait([task])


def address(of: TcpChannel) -> tuple[str, int]:
    host, _, port = of.address.rpartition(":")
    return host, int(port)


async def still_answers(served: TcpChannel) -> None:
    friend = channel(A)
    assert await friend.ask(Peer(node=B, address=served.address), Ping(), timeout_s=TIMEOUT_S) == Pong()


async def refused(told: Told, why: str) -> None:
    await until(lambda: any(why in line[1] for line in told), what=f"{why!r} is told")
    accepted = next(line[2] for line in told if why in line[1])
    assert accepted == "agents of cluster c with its secret, asking for b"


@pytest.mark.parametrize("stranger", [{"secret": b"another secret altogether"}, {"cluster": "d"}])
async def test_other_secret_and_other_cluster_are_refused_on_both_sides(
    served: TcpChannel, told: Told, stranger: dict[str, Any]
) -> None:
    with pytest.raises(Unwelcome, match="another secret or cluster"):
        await channel(A, **stranger).ask(Peer(node=B, address=served.address), Ping(), timeout_s=TIMEOUT_S)
    await refused(told, "does not know the secret of cluster c")
    await still_answers(served)


async def test_agent_that_looks_for_another_node_is_refused(served: TcpChannel, told: Told) -> None:
    with pytest.raises(Unwelcome):
        await channel(A).ask(Peer(node=NodeName("z"), address=served.address), Ping(), timeout_s=TIMEOUT_S)
    await refused(told, "it looks for node z; this is b")


@pytest.mark.parametrize(
    ("noise", "why"),
    [
        (b"GET / HTTP/1.1\r\nHost: b\r\n\r\n" + b"x" * 100, "announces"),
        (b"\xff" * 64, "announces"),
        (struct.pack(">I", 10) + b"\0" * 32 + b"0123456789", "does not know the secret"),
        (struct.pack(">I", 0) + b"\0" * 32, "does not know the secret"),
    ],
)
async def test_garbage_is_refused_with_words(served: TcpChannel, told: Told, noise: bytes, why: str) -> None:
    reader, writer = await asyncio.open_connection(*address(served))
    await reader.readexactly(wire.NONCE_BYTES)
    writer.write(noise)
    async with asyncio.timeout(TIMEOUT_S):
        assert await _ended(reader)
    writer.close()
    await refused(told, why)
    await still_answers(served)


async def test_who_says_nothing_is_sent_away_and_told_of_once(
    served: TcpChannel, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "HANDSHAKE_S", 0.05)
    for _ in range(3):
        reader, writer = await asyncio.open_connection(*address(served))
        writer.write(b"\0")  # and then no more
        await reader.readexactly(wire.NONCE_BYTES)
        async with asyncio.timeout(TIMEOUT_S):
            assert await _ended(reader)
        writer.close()
    await refused(told, "did not greet within")
    assert sum("did not greet" in line[1] for line in told) == 1
    monkeypatch.undo()
    await still_answers(served)


async def test_too_many_connections_are_not_kept(served: TcpChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "MOST_CONNECTIONS", 2)
    kept = [await asyncio.open_connection(*address(served)) for _ in range(2)]
    for reader, _ in kept:
        await reader.readexactly(wire.NONCE_BYTES)
    reader, writer = await asyncio.open_connection(*address(served))
    async with asyncio.timeout(TIMEOUT_S):
        assert await _ended(reader)
    for _, each in (*kept, (reader, writer)):
        each.close()


async def test_recorded_question_is_worth_nothing_again(served: TcpChannel, told: Told) -> None:
    """The same frame twice on one connection: the second bears a number that is over."""
    key = wire.cluster_key(SECRET, "c")
    reader, writer = await asyncio.open_connection(*address(served))
    theirs = await reader.readexactly(wire.NONCE_BYTES)
    hello = wire.Hello(A, B, b"n" * wire.NONCE_BYTES)
    writer.write(wire.frame(wire.client_hello_mac(key, theirs, hello.pack()), hello.pack()))
    await wire.read_frame(reader)
    seal = wire.Seal(key, b"to server", theirs, hello.nonce)
    body = wire.pack(Ping())
    once = wire.frame(seal.mac(body), body)
    writer.write(once)
    async with asyncio.timeout(TIMEOUT_S):
        await wire.read_frame(reader)
        writer.write(once)
        assert await _ended(reader)
    writer.close()
    await refused(told, "not made by who opened the connection")


async def test_agent_that_answers_nothing_lives_as_far_as_its_host_is_concerned() -> None:
    """Its kernel takes the connection and acknowledges: that is no host that vanished."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"n" * wire.NONCE_BYTES)
        await asyncio.sleep(TIMEOUT_S)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(tcp.AgentSilent):
        await channel(A).ask(Peer(node=B, address=f"127.0.0.1:{port}"), Ping(), timeout_s=1.0)
    server.close()


@pytest.mark.parametrize("where", ["no address", "127.0.0.1:", "127.0.0.1:70000"])
async def test_address_that_is_none_is_a_host_that_is_not_heard(where: str) -> None:
    with pytest.raises(HostSilent):
        await channel(A).ask(Peer(node=B, address=where), Ping(), timeout_s=0.3)


async def _ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True
