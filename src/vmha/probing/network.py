"""Probes over the network, from the node: a TCP port that takes a connection, a web address that answers well."""

import asyncio
import contextlib
import re
import ssl
from urllib.parse import urlsplit

from vmha.model.health import Probe
from vmha.policy.at_node.health import Answer
from vmha.probing.port import Reply

LONGEST_LINE = 4096
LONGEST_TEXT = 200
_CODE = re.compile(r"[0-9]{3}")


async def ask_tcp(probe: Probe) -> Reply:
    host, port = probe.address
    try:
        async with asyncio.timeout(probe.timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Reply(Answer.BAD, f"{probe.tcp} took no connection within {probe.timeout_s:g} s")
    except (OSError, ValueError) as error:
        return Reply(Answer.BAD, f"{probe.tcp}: {_words(error)}")
    writer.transport.abort()
    return Reply(Answer.GOOD)


async def ask_http(probe: Probe) -> Reply:
    """One GET; what follows the first line of the answer is not read, and no redirection is followed."""
    assert probe.http
    try:
        async with asyncio.timeout(probe.timeout_s):
            status = await _get(probe.http, insecure=probe.insecure)
    except TimeoutError:
        return Reply(Answer.BAD, f"{probe.http} did not answer within {probe.timeout_s:g} s")
    except (OSError, ValueError, asyncio.LimitOverrunError) as error:
        return Reply(Answer.BAD, f"{probe.http}: {_words(error)}")
    words = status.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not _CODE.fullmatch(words[1]):
        return Reply(Answer.BAD, f"{probe.http} does not speak HTTP")
    text = f"{probe.http} answers {' '.join(words[1:])}"[:LONGEST_TEXT]
    return Reply(Answer.GOOD if 200 <= int(words[1]) < 400 else Answer.BAD, text)


async def _get(url: str, *, insecure: bool) -> str:
    parts = urlsplit(url)
    is_safe = parts.scheme == "https"
    port = parts.port or (443 if is_safe else 80)
    reader, writer = await asyncio.open_connection(
        parts.hostname, port, ssl=_context(insecure) if is_safe else None, limit=LONGEST_LINE
    )
    try:
        path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        lines = [f"GET {path} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}", "User-Agent: vmha"]
        writer.write("\r\n".join([*lines, "Accept: */*", "Connection: close", "", ""]).encode())
        return (await reader.readline()).decode(errors="replace").strip()
    finally:
        with contextlib.suppress(OSError):
            writer.transport.abort()


def _context(insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:LONGEST_TEXT]
    return str(error)[:LONGEST_TEXT] or type(error).__name__
