"""TLS under the channel, both ways: each end shows the certificate of its node, and is believed no other name.

The secret says that somebody is of the cluster, the certificate which node it is. Files are those of the agent's
``[tls]``, and new ones are used by the next connection that is made (pki/renewed.py).
"""

import asyncio
import ssl
from pathlib import Path

from vmha.model.errors import Rejected
from vmha.model.ids import NodeName
from vmha.model.permissions import node_name
from vmha.peers import wire
from vmha.pki.renewed import LOOK_EVERY_S, FilesInUse


class PeersTls:
    """Raises ``Rejected`` when the files are none, or do not fit each other."""

    def __init__(self, *, cluster: str, ca: Path, cert: Path, key: Path) -> None:
        self._cluster = cluster
        self._ca, self._cert, self._key = ca, cert, key
        self._in_use = FilesInUse("the other agents", ca, cert, key)
        self._look_at = 0.0
        try:
            self._contexts = self._load()
        except OSError as error:  # OpenSSL's are, too
            files = ", ".join(map(str, (ca, cert, key)))
            raise Rejected(
                f"peers_tls: {files}: {error.strerror or error}", accepted="PEM files that fit each other"
            ) from error

    async def begin(self, writer: asyncio.StreamWriter, *, is_server: bool) -> None:
        """Raises ``wire.Garbled`` saying what the other end has shown instead."""
        self._look()
        try:
            await writer.start_tls(self._contexts[is_server])  # whoever asks for it has a deadline
        except ssl.SSLCertVerificationError as error:
            raise wire.Garbled(f"its certificate is not taken: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise wire.Garbled(f"no TLS with it: {error.reason or error}") from error

    def check(self, writer: asyncio.StreamWriter, node: NodeName) -> None:
        """Raises ``wire.Garbled`` when the other end's certificate is not that node's."""
        shown = writer.get_extra_info("peercert") or {}
        names = [value for part in shown.get("subject", ()) for name, value in part if name == "commonName"]
        wanted = node_name(self._cluster, node)
        if names != [wanted]:
            raise wire.Garbled(f"its certificate is {', '.join(names) or 'nobody'}'s, and not {wanted}'s")

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY_S
            self._contexts = self._in_use.look(self._load) or self._contexts

    def _load(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """The client's and the server's."""
        contexts = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for context in contexts:
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.check_hostname = False  # a node is known by its name (``check``), wherever it is reached
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._ca)
            context.load_cert_chain(self._cert, self._key)
        return contexts
