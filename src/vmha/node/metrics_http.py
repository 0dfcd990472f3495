"""The endpoint that Prometheus scrapes: ``GET /metrics`` over plain HTTP/1.1, one answer per connection.

On the agent's own event loop: a loop that is blocked does not answer, and that is what an alert should see. It takes
no input but the path, so it has no more of HTTP than that: put a proxy before it where TLS or a password is wanted.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from prometheus_client.exposition import CONTENT_TYPE_LATEST

REQUEST_S = 5.0
MAX_REQUEST_BYTES = 16 * 1024


async def serve_metrics(host: str, port: int, render: Callable[[], bytes]) -> asyncio.Server:
    """Listen. ``render`` makes the text of one scrape.

    Raises:
        OSError: the address can not be listened on.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(request, render))
                await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # whoever it was has gone, or never meant to ask
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    return await asyncio.start_server(answer, host, port, limit=MAX_REQUEST_BYTES)


def _response(request: bytes, render: Callable[[], bytes]) -> bytes:
    method, _, rest = request.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if method != b"GET":
        return _message("405 Method Not Allowed", "text/plain", b"only GET\n")
    if path != b"/metrics":
        return _message("404 Not Found", "text/plain", b"see /metrics\n")
    return _message("200 OK", CONTENT_TYPE_LATEST, render())


def _message(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
