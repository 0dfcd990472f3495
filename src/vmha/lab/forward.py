"""A unix socket outside, a living etcd member inside: the way from the machine to the lab's cluster.

A gRPC client dials ``unix:LABDIR/etcd.sock``. Each connection goes to the first member that is up and answers; when
that member is powered off, frozen or cut, its connections are dropped so that the client dials again and reaches
another one. (A client inside the lab knows all members' addresses and gets no such help.)
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_CONNECT_TIMEOUT_S = 0.5
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    name: str
    address: str
    port: int


class Forwarder:
    """Connections from one listening unix socket to the first usable target."""

    def __init__(self, targets: Callable[[], list[Target]]) -> None:
        """``targets`` gives the usable ones, best first, at the moment of the call."""
        self._targets = targets
        self._open: dict[asyncio.Task[None], str] = {}

    async def start(self, path: Path) -> None:
        self._server = await asyncio.start_unix_server(self._serve, path)
        os.chmod(path, 0o600)

    def drop_unusable(self) -> None:
        """Cancel the connections to targets that are no longer usable."""
        usable = {target.name for target in self._targets()}
        for task, name in self._open.items():
            if name not in usable:
                task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            for target in self._targets():
                try:
                    async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                        inner_reader, inner_writer = await asyncio.open_connection(target.address, target.port)
                except (OSError, TimeoutError):
                    continue
                self._open[task] = target.name
                await _join(reader, writer, inner_reader, inner_writer)
                return
        except asyncio.CancelledError:
            return  # dropped: asyncio's stream server would log the cancellation as an error
        finally:
            self._open.pop(task, None)
            writer.close()


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    inner_reader: asyncio.StreamReader,
    inner_writer: asyncio.StreamWriter,
) -> None:
    """Pump both ways until one side ends; then end the other, so that no half of a connection is left hanging."""
    pumps = [asyncio.create_task(_pump(reader, inner_writer)), asyncio.create_task(_pump(inner_reader, writer))]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()
        inner_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # the other end is gone: the pair ends
