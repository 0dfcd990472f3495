"""Servers of disks on this machine's own loopback address: one that listens, one that refuses, one that is silent."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from vmha.hypervisor.real.servers import Servers

HERE = "127.0.0.1"
REFUSED = "refused: nothing listens there, or something on the way rejects it"


async def try_port(port: int, host: str = HERE, *, timeout_s: float = 20.0) -> str:
    return await Servers().try_server(host, port, timeout_s=timeout_s)


async def test_server_that_listens_is_reached_and_hears_no_word() -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await reader.read())
        writer.close()

    server = await asyncio.start_server(listen, HERE, 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await try_port(port) == ""
        assert await try_port(port, "localhost") == ""
        async with asyncio.timeout(20):
            assert [await heard.get(), await heard.get()] == [b"", b""]


async def test_port_where_nobody_listens_refuses() -> None:
    with socket.socket() as taken:
        taken.bind((HERE, 0))  # and never listened at
        port = taken.getsockname()[1]
        assert await try_port(port) == REFUSED
        assert await try_port(port, "localhost") == REFUSED


@contextlib.contextmanager
def full_port() -> Iterator[int]:
    """One whose queue is full: the kernel answers no greeting, as a firewall that drops it."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind((HERE, 0))
        listening.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


async def test_server_that_keeps_silent_is_given_up_in_time() -> None:
    with full_port() as port:
        assert await try_port(port, timeout_s=0.2) == "no answer within 0.2 s"


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 300, "é" * 70, "a\0b", "10.0.0.9:80"])
async def test_name_that_is_none_is_told(host: str) -> None:
    assert await try_port(10809, host) == "its name is not known here"


async def test_name_server_that_keeps_silent_holds_up_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    ends, real = threading.Event(), socket.getaddrinfo

    def silent(host: str, *arguments: object, flags: int = 0, **named: object) -> object:
        if not flags & socket.AI_NUMERICHOST:
            ends.wait()
        return real(host, *arguments, flags=flags, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    servers = Servers()
    try:
        named = [servers.try_server(f"n{count}.invalid", 10809, timeout_s=0.2) for count in range(8)]
        assert set(await asyncio.gather(*named)) == {"its name was not resolved within 0.2 s"}
        with socket.socket() as listening:
            listening.bind((HERE, 0))
            listening.listen()
            assert await servers.try_server(HERE, listening.getsockname()[1], timeout_s=20.0) == ""
    finally:
        ends.set()
