"""TLS files for etcd, renewed while they are in use: looked at by whoever asks the store anything (pki/renewed.py)."""

from dataclasses import dataclass
from pathlib import Path

from vmha.model.errors import Rejected
from vmha.pki.renewed import LOOK_EVERY_S, FilesInUse
from vmha.store import wire


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Files for TLS: the authority that signed the members' certificates, and this client's certificate and key."""

    ca: Path
    cert: Path | None = None
    key: Path | None = None


def load_credentials(tls: TlsFiles | None) -> wire.ChannelCredentials:
    """gRPC's credentials from the files; the system's authorities when there are none.

    Raises:
        Rejected: a file cannot be read, or one of certificate and key is missing.
    """
    if tls is None:
        return wire.ssl_channel_credentials()
    if (tls.cert is None) != (tls.key is None):
        raise Rejected("TLS to etcd has one of certificate and key", accepted="both or none")
    ca, key, cert = (None if file is None else read_file(file) for file in (tls.ca, tls.key, tls.cert))
    return wire.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)


def read_file(file: Path, what: str = "the TLS file") -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Rejected(f"cannot read {what} {file}: {error.strerror}") from error


class RenewedFiles:
    """The files of one store, as they were last looked at."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._in_use = FilesInUse("etcd", files.ca, files.cert, files.key)
        self._look_at = 0.0

    def look(self, now: float) -> wire.ChannelCredentials | None:
        """New credentials, once for each renewal; None: the ones in use are still good."""
        if now < self._look_at:
            return None
        self._look_at = now + LOOK_EVERY_S
        return self._in_use.look(self._load)

    def _load(self) -> wire.ChannelCredentials:
        import ssl  # here: hardly any command of the command line stays so long

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self._files.ca)
        if self._files.cert is not None:
            context.load_cert_chain(self._files.cert, self._files.key)
        return load_credentials(self._files)
