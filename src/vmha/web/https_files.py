"""The certificate that browsers are shown, renewed while it is in use (pki/renewed.py).

A new one is shown to whoever connects from then on; connections that are there stay.
"""

import asyncio
import ssl
from pathlib import Path

from vmha.pki.renewed import LOOK_EVERY_S, FilesInUse


class HttpsFiles:
    """``context``: the server's, which has been made of these files as they are now."""

    def __init__(self, context: ssl.SSLContext, cert: Path, key: Path) -> None:
        self._context, self._cert, self._key = context, cert, key
        self._in_use = FilesInUse("the dashboard", cert, key)

    async def renew(self) -> None:
        """For as long as the server serves."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()

    def look(self) -> bool:
        """Whether new ones have been taken into use, which they are once for each renewal."""
        return self._in_use.look(self._load) is not None

    def _load(self) -> ssl.SSLContext:
        # Never half into the server's: tried on one of its own first.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._cert, self._key)
        self._context.load_cert_chain(self._cert, self._key)
        return self._context
