"""The lab's shared storage: an NBD server on the storage network, one export per image file.

NBD because libvirt accepts it as safe for migration, and because it has no locks, like a LUN: a guest that is started
twice really runs twice, and the server (see ``writers``) is a witness to it. Files on one kernel would be protected by
QEMU's image locks, which hide the very bug a cluster must not have.

Protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md (fixed newstyle, simple replies).
Limit: a power cut of a host does not lose this server's page cache, so a missing flush in a guest stays invisible.
"""

import asyncio
import errno
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from vmha.lab.journal import Journal
from vmha.lab.writers import Connection, WriterReport, Writers
from vmha.model.clock import Clock

_OPTION_MAGIC = b"IHAVEOPT"
_OPTION_REPLY_MAGIC = 0x3E889045565A9
_REQUEST_MAGIC, _REPLY_MAGIC = 0x25609513, 0x67446698
_ABORT, _LIST, _INFO, _GO = 2, 3, 6, 7
_ACK, _SERVER, _INFO_REPLY = 1, 2, 3
_ERR_UNSUPPORTED, _ERR_UNKNOWN = 0x80000001, 0x80000006
_READ, _WRITE, _DISCONNECT, _FLUSH, _TRIM, _WRITE_ZEROES = 0, 1, 2, 3, 4, 6
_FUA = 1
# has flags, flush, fua, trim, write zeroes, several connections see each other's writes
_TRANSMISSION_FLAGS = 1 | 4 | 8 | 32 | 64 | 256
_MAX_REQUEST = 32 << 20
_MAX_OPTION = 4096
_THREADS = 4


@dataclass(slots=True, kw_only=True)
class _Export:
    fd: int
    size: int
    writers: Writers = field(default_factory=Writers)


class StorageServer:
    """Serves ``DIRECTORY/NAME.img`` as export NAME, opened when first asked for."""

    def __init__(self, directory: Path, *, journal: Journal, clock: Clock, host_name: Callable[[str], str]) -> None:
        self._directory = directory
        self._journal = journal
        self._clock = clock
        self._host_name = host_name
        self._exports: dict[str, _Export] = {}
        self._connections = 0
        self._shut_out: set[str] = set()
        self._under_way: Counter[str] = Counter()
        self._open_writers: dict[asyncio.StreamWriter, str] = {}
        # Off the event loop: a slow disk must not stop the clock of the hosts' watchdogs, which live there too.
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="storage")

    async def start(self, address: str, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, address, port, limit=4 << 20)

    async def shut_out(self, host: str) -> None:
        """Serve a host no more. Returns when nothing of it is under way: no write of it comes after that."""
        self._shut_out.add(host)
        for writer, of in list(self._open_writers.items()):
            if of == host:
                writer.transport.abort()
        while self._under_way[host]:  # noqa: ASYNC110 (a write takes a millisecond)
            await asyncio.sleep(0.002)
        self._journal.note("storage-shut-out", node=host)

    def let_in(self, host: str) -> None:
        self._shut_out.discard(host)
        self._journal.note("storage-let-in", node=host)

    def is_shut_out(self, host: str) -> bool:
        return host in self._shut_out

    def reports(self) -> dict[str, WriterReport]:
        """What is known of every export that was opened since the lab came up."""
        now_s = self._clock.now()
        return {name: export.writers.report(now_s) for name, export in sorted(self._exports.items())}

    def mark(self, name: str) -> None:
        if name in self._exports:
            self._exports[name].writers.mark(self._clock.now())

    def forget(self, name: str) -> None:
        """The image is being removed."""
        export = self._exports.pop(name, None)
        if export is not None:
            os.close(export.fd)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        connection = Connection(number=self._connections, host=self._host_name(writer.get_extra_info("peername")[0]))
        self._open_writers[writer] = connection.host
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            name = None if connection.host in self._shut_out else await self._negotiate(reader, writer)
            if name is not None:
                await self._transmit(name, connection, reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client is gone
        finally:
            del self._open_writers[writer]
            writer.close()

    async def _negotiate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
        writer.write(b"NBDMAGIC" + _OPTION_MAGIC + struct.pack(">H", 1 | 2))  # fixed newstyle, no zeroes
        await reader.readexactly(4)
        while True:
            magic, option, length = struct.unpack(">8sII", await reader.readexactly(16))
            if magic != _OPTION_MAGIC or length > _MAX_OPTION:
                return None
            data = await reader.readexactly(length)
            done: str | None = None
            match option:
                case n if n in (_INFO, _GO):
                    done = self._describe(writer, option, data)
                case n if n == _LIST:
                    self._list(writer, option)
                case n if n == _ABORT:
                    _reply_option(writer, option, _ACK)
                    return None
                case _:
                    _reply_option(writer, option, _ERR_UNSUPPORTED)
            await writer.drain()
            if done is not None:
                return done

    def _describe(self, writer: asyncio.StreamWriter, option: int, data: bytes) -> str | None:
        length = struct.unpack(">I", data[:4])[0]
        name = data[4 : 4 + length].decode(errors="replace")
        try:
            export = self._open(name)
        except OSError:
            _reply_option(writer, option, _ERR_UNKNOWN)
            return None
        _reply_option(writer, option, _INFO_REPLY, struct.pack(">HQH", 0, export.size, _TRANSMISSION_FLAGS))
        _reply_option(writer, option, _INFO_REPLY, struct.pack(">HIII", 3, 1, 4096, _MAX_REQUEST))
        _reply_option(writer, option, _ACK)
        return name if option == _GO else None

    def _list(self, writer: asyncio.StreamWriter, option: int) -> None:
        for image in sorted(self._directory.glob("*.img")):
            name = image.stem.encode()
            _reply_option(writer, option, _SERVER, struct.pack(">I", len(name)) + name)
        _reply_option(writer, option, _ACK)

    def _open(self, name: str) -> _Export:
        if name not in self._exports:
            if "/" in name or not name:
                raise FileNotFoundError(name)
            fd = os.open(self._directory / f"{name}.img", os.O_RDWR | os.O_CLOEXEC)
            self._exports[name] = _Export(fd=fd, size=os.fstat(fd).st_size)
        return self._exports[name]

    async def _transmit(
        self, name: str, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            magic, flags, command, handle, offset, length = struct.unpack(">IHHQQI", await reader.readexactly(28))
            if magic != _REQUEST_MAGIC or command == _DISCONNECT or length > _MAX_REQUEST:
                return
            data = await reader.readexactly(length) if command == _WRITE else b""
            export = self._exports.get(name)
            if export is None or connection.host in self._shut_out:
                return
            if command in (_WRITE, _TRIM, _WRITE_ZEROES):
                self._note_write(name, export, connection, offset, data)
            self._under_way[connection.host] += 1
            try:
                reply, code = await self._carry_out(export, command, flags, offset, length, data), 0
            except OSError as error:
                reply, code = b"", error.errno or errno.EIO
            finally:
                self._under_way[connection.host] -= 1
            writer.write(struct.pack(">IIQ", _REPLY_MAGIC, code, handle) + reply)
            await writer.drain()

    def _note_write(self, name: str, export: _Export, connection: Connection, offset: int, data: bytes) -> None:
        noted = export.writers.note_write(connection, offset, data, self._clock.now())
        if noted is not None:
            fields = {"other": noted.other} if noted.other else {}
            counts = {"count": noted.count} if noted.count else {}
            self._journal.note(f"storage-{noted.event}", export=name, writer=noted.writer, **fields, **counts)

    async def _carry_out(
        self, export: _Export, command: int, flags: int, offset: int, length: int, data: bytes
    ) -> bytes:
        run = asyncio.get_running_loop().run_in_executor
        if offset + length > export.size:
            raise OSError(errno.EINVAL, "beyond the end")
        reply = b""
        match command:
            case n if n == _READ:
                reply = await run(self._pool, os.pread, export.fd, length, offset)
            case n if n == _WRITE:
                await run(self._pool, os.pwrite, export.fd, data, offset)
            case n if n == _WRITE_ZEROES:
                await run(self._pool, os.pwrite, export.fd, bytes(length), offset)
            case n if n in (_FLUSH, _TRIM):
                pass
            case _:
                raise OSError(errno.EINVAL, "unknown command")
        if command == _FLUSH or flags & _FUA:
            await run(self._pool, os.fdatasync, export.fd)
        return reply


def _reply_option(writer: asyncio.StreamWriter, option: int, kind: int, data: bytes = b"") -> None:
    writer.write(struct.pack(">QIII", _OPTION_REPLY_MAGIC, option, kind, len(data)) + data)
