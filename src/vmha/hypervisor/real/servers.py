"""Does a server of guests' disks take a connection from this host? QEMU here would open the same one.

It is closed without a word: to a server that counts its clients there has been none. Names are looked up in threads of
their own, so that a name server that keeps silent holds up nothing but this.
"""

import asyncio
import socket
from typing import Any

from vmha.hypervisor.calls import CallOverdue, Lane

_REASONS: dict[type[OSError], str] = {
    ConnectionRefusedError: "refused: nothing listens there, or something on the way rejects it",
    ConnectionResetError: "reset by what listens there",
}


class Servers:
    def __init__(self) -> None:
        self._names = Lane("names")

    async def try_server(self, host: str, port: int, *, timeout_s: float) -> str:
        """'' when it takes one; else why not."""
        try:
            addresses = await self._addresses(host, port, timeout_s)
        except CallOverdue:
            return f"its name was not resolved within {timeout_s:g} s"
        except (OSError, ValueError):  # a name that is none can not even be asked for
            return "its name is not known here"
        why = ""
        try:
            async with asyncio.timeout(timeout_s):
                for family, where in addresses:
                    if not (why := await _connect(family, where)):
                        return ""
        except TimeoutError:
            return f"no answer within {timeout_s:g} s"
        return why

    async def _addresses(self, host: str, port: int, timeout_s: float) -> list[tuple[int, Any]]:
        def look_up(flags: int = 0) -> list[tuple[int, Any]]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
            return [(family, where) for family, _, _, _, where in found]

        try:
            return look_up(socket.AI_NUMERICHOST)
        except (OSError, ValueError):
            return await self._names.call(look_up, what=f"look up {host}", timeout_s=timeout_s)


async def _connect(family: int, where: Any) -> str:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setblocking(False)
            await asyncio.get_running_loop().sock_connect(tried, where)
    except TimeoutError as error:
        return (error.strerror or "no answer").lower()  # the kernel's own, ETIMEDOUT
    except OSError as error:
        return _REASONS.get(type(error)) or (error.strerror or str(error) or type(error).__name__).lower()
    return ""
