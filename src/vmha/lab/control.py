"""The lab's control socket: one JSON line asks, one JSON line answers, with file descriptors beside it where needed.

Server side, in the lab's pid 1; ``client`` is the other end. An answer is ``{"ok": ...}`` or
``{"error": WORDS, "family": NAME}``, where the family is a class of ``vmha.model.errors``.
"""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmha.model.errors import VmhaError

_MAX_REQUEST = 1 << 16
_REQUEST_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``fds`` travel with the answer; those in ``close_after`` are closed here once sent."""

    value: Any = None
    fds: list[int] = field(default_factory=list)
    close_after: list[int] = field(default_factory=list)


Handler = Callable[[dict[str, Any]], Awaitable[Answer]]


class ControlServer:
    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        old_mask = os.umask(0o177)
        try:
            self._socket.bind(str(path))
        finally:
            os.umask(old_mask)
        self._socket.listen(64)
        self._keep(self._accept(), "control")

    def _keep(self, work: Any, name: str) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(self._socket)
            connection.setblocking(False)
            self._keep(self._serve(connection), "control request")

    async def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                    request = await _read_line(connection)
                reply, answer = await self._answer(request)
                try:
                    await _send(connection, reply, answer.fds)
                finally:
                    for fd in answer.close_after:
                        os.close(fd)
            except (OSError, TimeoutError):
                pass  # whoever asked is gone

    async def _answer(self, request: bytes) -> tuple[dict[str, Any], Answer]:
        try:
            answer = await self._handle(json.loads(request))
            return {"ok": answer.value}, answer
        except VmhaError as error:
            family = next(base.__name__ for base in type(error).__mro__ if base.__module__ == "vmha.model.errors")
            return {"error": str(error), "family": family}, Answer()
        except (OSError, TimeoutError, ValueError, KeyError) as error:
            return {"error": f"{type(error).__name__}: {error}", "family": "Retryable"}, Answer()


async def _read_line(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n") and len(data) < _MAX_REQUEST:
        more = await asyncio.get_running_loop().sock_recv(connection, _MAX_REQUEST)
        if not more:
            break
        data += more
    return data


async def _send(connection: socket.socket, reply: dict[str, Any], fds: list[int]) -> None:
    data = json.dumps(reply).encode() + b"\n"
    if fds:
        socket.send_fds(connection, [data], fds)  # a few bytes into an empty buffer: never short
    else:
        await asyncio.get_running_loop().sock_sendall(connection, data)
