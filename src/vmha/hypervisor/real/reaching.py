"""Does another host's libvirtd answer, by the way that a migration there would take? Asked in a process of its own.

libvirt waits without limit for a target that takes a connection and says nothing, and what it waits in can not be
interrupted: a process can be ended. It speaks to the target as libvirtd here does for a migration: address and port,
and the trust of TLS or ssh between the hosts' roots.
"""

import asyncio
import contextlib
import sys

from vmha.hypervisor.real.doors import Doors
from vmha.hypervisor.real.letting_in import read_whom_tls_lets_in
from vmha.hypervisor.real.servers import Servers
from vmha.hypervisor.remedies import with_remedy
from vmha.model.checkup import Door
from vmha.model.transport import never_asking

_ASK = """
import sys, libvirt
libvirt.registerErrorHandler(lambda *_: None, None)
try:
    libvirt.open(sys.argv[1]).close()
except libvirt.libvirtError as error:
    print(error.get_error_message() or error)
    sys.exit(1)
"""


class LibvirtWays:
    """See ``ways.Ways``."""

    def __init__(self, doors: Doors | None = None) -> None:
        self._doors = doors or Doors()
        self._servers = Servers()

    async def try_reach(self, uri: str, *, timeout_s: float) -> str:
        return await try_reach(uri, timeout_s=timeout_s)

    async def open_door(self, *, for_s: float) -> Door | None:
        return await self._doors.open(for_s=for_s)

    async def try_door(self, address: str, door: Door, *, encrypted: bool, timeout_s: float) -> str:
        if encrypted and not door.encrypts:
            return f"there {door.trouble}" if door.trouble else ""
        return await self._doors.knock(address, door.port, encrypted=encrypted, timeout_s=timeout_s)

    async def whom_tls_lets_in(self) -> str:
        return await asyncio.to_thread(read_whom_tls_lets_in)

    async def try_server(self, host: str, port: int, *, timeout_s: float) -> str:
        return await self._servers.try_server(host, port, timeout_s=timeout_s)

    async def close(self) -> None:
        await self._doors.close()


async def try_reach(uri: str, *, timeout_s: float) -> str:
    """'' when it answers; else why not."""
    asked = never_asking(uri)
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _ASK, asked, stdin=nothing, stdout=pipe, stderr=nothing
    )
    try:
        async with asyncio.timeout(timeout_s):
            said, _ = await process.communicate()
    except TimeoutError:
        return with_remedy(f"no answer within {timeout_s:g} s: connection timed out", uri)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode == 0:
        return ""
    return with_remedy(" ".join(said.decode(errors="replace").split()) or f"ended with code {process.returncode}", uri)
