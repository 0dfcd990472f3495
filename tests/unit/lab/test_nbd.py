"""The storage server over a real socket: what a client writes is read back, and doubles are put on record."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.etcd import free_ports
from vmha.lab.journal import Journal
from vmha.lab.nbd import StorageServer
from vmha.model.clock import SystemClock

READ, WRITE, FLUSH, WRITE_ZEROES = 0, 1, 3, 6
SIZE = 1 << 20


class Client:
    """As much of an NBD client as QEMU is."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> "Client":
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        assert await client.reader.readexactly(18) == b"NBDMAGICIHAVEOPT\0\x03"
        client.writer.write(struct.pack(">I", 3))
        return client

    async def option(self, option: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        """Send one option; returns the replies up to the final one."""
        self.writer.write(struct.pack(">8sII", b"IHAVEOPT", option, len(data)) + data)
        replies: list[tuple[int, bytes]] = []
        while not replies or replies[-1][0] not in (1, 0x80000001, 0x80000006):
            _, _, kind, length = struct.unpack(">QIII", await self.reader.readexactly(20))
            replies.append((kind, await self.reader.readexactly(length)))
        return replies

    async def go(self, name: str) -> list[tuple[int, bytes]]:
        return await self.option(7, struct.pack(">I", len(name)) + name.encode() + b"\0\0")

    async def request(
        self, command: int, offset: int, length: int, data: bytes = b"", flags: int = 0
    ) -> tuple[int, bytes]:
        self.writer.write(struct.pack(">IHHQQI", 0x25609513, flags, command, 7, offset, length) + data)
        magic, code, handle = struct.unpack(">IIQ", await self.reader.readexactly(16))
        assert (magic, handle) == (0x67446698, 7)
        return code, await self.reader.readexactly(length if command == READ and not code else 0)

    async def write(self, offset: int, data: bytes) -> int:
        return (await self.request(WRITE, offset, len(data), data))[0]


class Served:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "disk.img").write_bytes(bytes(SIZE))
        clock = SystemClock()
        self.events = directory / "events.jsonl"
        journal = Journal(self.events, clock)
        self.server = StorageServer(directory, journal=journal, clock=clock, host_name=lambda _: "h1")
        (self.port,) = free_ports(1)

    async def connect(self, name: str = "disk") -> Client:
        client = await Client.connect(self.port)
        await client.go(name)
        return client

    def noted(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.events.read_text().splitlines()]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    served = Served(tmp_path)
    await served.server.start("127.0.0.1", served.port)
    async with asyncio.timeout(30):
        yield served


async def test_an_export_is_described_and_an_unknown_one_refused(served: Served) -> None:
    client = await Client.connect(served.port)
    assert (await client.option(8))[-1][0] == 0x80000001
    assert (await client.go("missing"))[-1][0] == 0x80000006
    assert (await client.go("../disk"))[-1][0] == 0x80000006
    assert (await client.option(3))[0][1].endswith(b"disk")
    described = await client.go("disk")
    assert struct.unpack(">HQH", described[0][1])[1] == SIZE
    assert described[-1][0] == 1


async def test_what_one_client_writes_another_reads(served: Served) -> None:
    one, two = await served.connect(), await served.connect()
    assert await one.write(4096, b"x" * 512) == 0
    assert (await one.request(FLUSH, 0, 0))[0] == 0
    assert await two.request(READ, 4096, 512) == (0, b"x" * 512)
    assert (await one.request(WRITE_ZEROES, 4096, 256, flags=1))[0] == 0
    assert (await two.request(READ, 4096, 512))[1] == bytes(256) + b"x" * 256
    assert (served.directory / "disk.img").read_bytes()[4096:4608] == bytes(256) + b"x" * 256


async def test_a_request_beyond_the_end_fails_and_the_connection_goes_on(served: Served) -> None:
    client = await served.connect()
    assert await client.write(SIZE, b"x") == 22
    assert (await client.request(READ, 0, 16))[0] == 0


async def test_writers_that_take_turns_are_put_on_record(served: Served) -> None:
    one, two = await served.connect(), await served.connect()
    await one.write(0, b"a")
    await two.write(0, b"b")
    assert served.server.reports()["disk"].double_writers == 0
    await one.write(0, b"c")
    report = served.server.reports()["disk"]
    assert (report.double_writers, report.writes, report.writer) == (1, 3, "h1#1")
    assert served.noted() == ["storage-writer", "storage-writer", "storage-double-writer"]


async def test_a_forgotten_export_serves_no_more(served: Served) -> None:
    client = await served.connect()
    served.server.forget("disk")
    with pytest.raises(asyncio.IncompleteReadError):
        await client.write(0, b"a")
    assert served.server.reports() == {}


async def test_a_host_that_is_shut_out_writes_nothing_until_it_is_let_in_again(served: Served) -> None:
    client = await served.connect()
    assert await client.write(0, b"before") == 0
    await served.server.shut_out("h1")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await client.write(0, b"behind")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await served.connect()
    assert (served.directory / "disk.img").read_bytes()[:6] == b"before"
    served.server.let_in("h1")
    assert await (await served.connect()).write(0, b"anew..") == 0
