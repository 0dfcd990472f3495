"""The channel to the other agents, from the settings file. Without a secret there is none, and everything else goes on.

What is wrong with the secret, or with certificates, is told, and is no reason not to start: an agent that does not
start ends its guests.
"""

import stat
from pathlib import Path

import structlog

from vmha.model.clock import Clock
from vmha.model.errors import Rejected
from vmha.model.ids import NodeName
from vmha.node.settings import NodeSettings
from vmha.peers.port import Channel
from vmha.peers.tcp import TcpChannel
from vmha.peers.tls import PeersTls
from vmha.peers.wire import LEAST_SECRET_BYTES

log = structlog.get_logger(__name__)


def open_channel(settings: NodeSettings, address: str, clock: Clock) -> Channel | None:
    """``address``: where this node is reached, if ``peers_address`` does not say."""
    if settings.peers_secret_file is None:
        log.warning(
            "no channel to the other agents: no failsafe, no fast suspicion", accepted="peers_secret_file = ..."
        )
        return None
    try:
        secret, tls = read_secret(settings.peers_secret_file), read_tls(settings)
    except Rejected as error:
        log.error("no channel to the other agents: no failsafe, no fast suspicion", why=str(error))
        return None
    host, _, port = settings.peers_listen.rpartition(":")
    if ":" in address and "peers_listen" not in settings.model_fields_set:
        host = "::"  # it has no other address, as far as is known
    return TcpChannel(
        node=NodeName(settings.node),
        cluster=settings.cluster,
        secret=secret,
        listen=(host.strip("[]"), int(port)),
        address=settings.peers_address or f"{address}:{port}",
        clock=clock,
        tls=tls,
    )


def read_tls(settings: NodeSettings) -> PeersTls | None:
    """None: the channel is no TLS. Raises ``Rejected`` saying what would do."""
    if not settings.peers_tls:
        return None
    if settings.tls is None:
        raise Rejected("peers_tls: true, and there is no [tls]", accepted="ca, cert and key of this node in [tls]")
    return PeersTls(cluster=settings.cluster, ca=settings.tls.ca, cert=settings.tls.cert, key=settings.tls.key)


def read_secret(path: Path) -> bytes:
    """Raises ``Rejected`` saying what would do."""
    try:
        secret = path.read_bytes().strip()
        mode = path.stat().st_mode
    except OSError as error:
        raise Rejected(f"peers_secret_file: {path}: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise Rejected(f"peers_secret_file: {path}: others may read it", accepted="mode 0600")
    if len(secret) < LEAST_SECRET_BYTES:
        raise Rejected(
            f"peers_secret_file: {path}: {len(secret)} bytes are too few", accepted=f"at least {LEAST_SECRET_BYTES}"
        )
    return secret
