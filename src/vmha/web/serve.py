"""Listening: the dashboard behind uvicorn, on its own event loop, until it is told to end.

A process of its own, also on a node where an agent runs: whatever browsers ask of it, no beat waits for it.
"""

import asyncio
import logging
import socket

import uvicorn

from vmha.model.errors import Rejected
from vmha.model.web import WebSettings
from vmha.operator.client import OperatorClient
from vmha.web.app import application
from vmha.web.https_files import HttpsFiles

MOST_CONNECTIONS = 512
MOST_HEADER_BYTES = 16 * 1024
KEEP_ALIVE_S = 10
GRACE_S = 1


async def serve(client: OperatorClient, settings: WebSettings) -> None:
    """Until SIGTERM or SIGINT.

    Raises:
        Rejected: the address can not be listened on, or the certificate can not be read.
    """
    names = {*settings.names, "localhost", socket.gethostname(), socket.getfqdn(), settings.host}
    app = application(client, settings.model_copy(update={"names": tuple(names)}))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http="h11",
        ws="none",
        lifespan="on",
        proxy_headers=False,  # who asks is who is connected, whatever a header says
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=settings.cert,
        ssl_keyfile=settings.key,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        config.load()
    except (OSError, ValueError) as error:
        raise Rejected(
            f"web: certificate {settings.cert}, key {settings.key}: {error}", accepted="PEM files"
        ) from error
    with listen(settings) as listening:
        renewing = asyncio.create_task(_renew(config, settings), name="renew-https")
        try:
            await uvicorn.Server(config).serve(sockets=[listening])
        finally:
            renewing.cancel()


async def _renew(config: uvicorn.Config, settings: WebSettings) -> None:
    if config.ssl is not None and settings.cert is not None and settings.key is not None:
        await HttpsFiles(config.ssl, settings.cert, settings.key).renew()


def listen(settings: WebSettings) -> socket.socket:
    """Raises: Rejected."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(128)
        except OSError:
            listening.close()
            raise
    except (OSError, OverflowError) as error:
        message = f"web: can not listen on {settings.host}:{settings.port}: {error}"
        raise Rejected(message, accepted="an address of this machine and a port that is free") from error
    return listening
