"""A member's space quota, which etcd tells to no client of its API: it stands among its metrics, at the same address.

Best effort: a member behind something that speaks gRPC alone, or whose metrics are closed to us, has an unknown quota.
Called seldom, so a connection of its own for each question; with the same certificate as everything else.
"""

import asyncio
import math
import re
import ssl
from contextlib import suppress
from typing import Final

from vmha.store.channels import Endpoint
from vmha.store.tls_files import TlsFiles

LARGEST_BYTES: Final = 4 << 20
_METRIC: Final = re.compile(rb"^etcd_server_quota_backend_bytes (\S+)\s*$", re.MULTILINE)


async def ask_quota(endpoint: Endpoint, tls: TlsFiles | None, *, timeout_s: float) -> int | None:
    """In bytes; 0: it has none. None: it is not told there, or not within the time."""
    with suppress(OSError, ValueError, TimeoutError):
        async with asyncio.timeout(timeout_s):
            return read_quota(await _metrics(endpoint, _context(tls) if endpoint.secure else None))
    return None


def read_quota(answer: bytes) -> int | None:
    """Of an answer to a question for metrics."""
    status, _, rest = answer.partition(b"\r\n")
    found = _METRIC.search(rest)
    if status.split()[1:2] != [b"200"] or found is None:
        return None
    value = float(found[1])
    return max(0, int(value)) if math.isfinite(value) else None


async def _metrics(endpoint: Endpoint, context: ssl.SSLContext | None) -> bytes:
    if endpoint.target.startswith("unix:"):
        host, path = "localhost", endpoint.target.removeprefix("unix:")
        name = host if context else None
        reader, writer = await asyncio.open_unix_connection(path, ssl=context, server_hostname=name)
    else:
        host, _, port = endpoint.target.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    try:
        # 1.0: the connection ends with the answer, which comes in one piece.
        writer.write(f"GET /metrics HTTP/1.0\r\nHost: {host}\r\nAccept: text/plain\r\n\r\n".encode())
        answer = bytearray()
        while len(answer) < LARGEST_BYTES and (some := await reader.read(1 << 16)):
            answer += some
        return bytes(answer)
    finally:
        writer.transport.abort()


def _context(tls: TlsFiles | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=None if tls is None else tls.ca)
    if tls is not None and tls.cert is not None:
        context.load_cert_chain(tls.cert, tls.key)
    return context
