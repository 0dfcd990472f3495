"""Before a migration is begun: does anybody answer at all where it is to go?

libvirt waits without limit for a target that takes a connection and says nothing, or whose packets are lost on the way,
and its abort does not end that wait: the guest would run on here, and be neither moved nor free to be moved elsewhere.
So the same way is tried first, with an end to it. Only silence is of interest: whatever else is wrong libvirt meets as
well, and says so at once.
"""

import asyncio
import contextlib
from urllib.parse import parse_qs, urlsplit

from vmha.hypervisor.port import MigrationFailed
from vmha.model.transport import Transport, transport_of

PATIENCE_S = 10.0
_PORTS = {Transport.TCP: 16509, Transport.TLS: 16514}


async def ensure_somebody_answers(uri: str, *, timeout_s: float = PATIENCE_S) -> None:
    """
    Raises:
        MigrationFailed: there was no answer in time.
    """
    parts, transport = urlsplit(uri), transport_of(uri)
    try:
        async with asyncio.timeout(timeout_s):
            if parts.hostname and parts.scheme.endswith("+ssh"):
                await _by_ssh(uri)
            elif parts.hostname and transport in _PORTS:
                await _by_tcp(parts.hostname, parts.port or _PORTS[transport])
    except TimeoutError as error:
        raise MigrationFailed(
            f"{parts.hostname} does not answer by {transport} within {timeout_s:g} s; see the target's "
            "migration_address, the way to it from here, and whether what listens there is alive"
        ) from error


async def _by_tcp(host: str, port: int) -> None:
    with contextlib.suppress(ConnectionError, OSError):
        _, writer = await asyncio.open_connection(host, port)
        writer.close()


async def _by_ssh(uri: str) -> None:
    """ssh itself, as libvirtd starts it: it knows of the aliases and proxies in root's settings."""
    try:
        process = await asyncio.create_subprocess_exec(
            *ssh_words(uri), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=None
        )
    except OSError:
        return  # no ssh here: libvirt will say so
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def ssh_words(uri: str) -> list[str]:
    parts = urlsplit(uri)
    words = ["ssh", "-T", "-q", "-o", "BatchMode=yes"]
    words += [word for key in parse_qs(parts.query).get("keyfile", [])[:1] for word in ("-i", key)]
    words += ["-p", str(parts.port)] if parts.port else []
    words += ["-l", parts.username] if parts.username else []
    return [*words, "--", parts.hostname or "", "true"]
