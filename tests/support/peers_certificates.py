"""Certificates of ``vmha pki`` for agents that talk to each other by TLS."""

from datetime import UTC, datetime
from pathlib import Path

from vmha.peers.tls import PeersTls
from vmha.pki.authority import CA, CERT, KEY, Authority, Kind


class PeersCertificates:
    def __init__(self, folder: Path, cluster: str) -> None:
        self.cluster = cluster
        self.authority = Authority.create(folder / "pki", cluster=cluster, now=datetime.now(UTC), days=30)

    def issue(self, kind: Kind, name: str) -> Path:
        """Where the three files are."""
        issued = self.authority.issue(kind, name, addresses=("127.0.0.1",), now=datetime.now(UTC), days=3)
        return issued.folder

    def of(self, node: str) -> PeersTls:
        return self.read(self.issue(Kind.NODE, node))

    def read(self, folder: Path) -> PeersTls:
        return PeersTls(cluster=self.cluster, ca=folder / CA, cert=folder / CERT, key=folder / KEY)
