"""TLS files that are renewed while they are in use: certificates run out, and an agent stays for months.

The files are looked at once a second, by whoever asks the store anything. New ones are used when they have stood still
between two looks and fit each other: whoever replaces three files one by one does not have the half of it used. Files
that do not fit are told once, and the old ones serve on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vmha.model.errors import Rejected
from vmha.store import wire

if TYPE_CHECKING:
    from ssl import SSLContext

LOOK_EVERY_S: Final = 1.0

_Stamp = tuple[tuple[int, int, int], ...]


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
        self._used = self._seen = self._stamp()
        self._look_at = 0.0

    def look(self, now: float) -> wire.ChannelCredentials | None:
        """New credentials, once for each renewal; None: the ones in use are still good."""
        if now < self._look_at:
            return None
        self._look_at = now + LOOK_EVERY_S
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            return None
        if stamp == self._used:
            return None
        self._used = stamp
        import ssl  # here: every command of the command line imports this module, and hardly any stays so long

        import structlog

        log = structlog.get_logger(__name__)
        try:
            self._check(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
            credentials = load_credentials(self._files)
        except (OSError, ssl.SSLError, Rejected) as error:
            log.error("the new TLS files for etcd can not be used: the old ones serve on", why=str(error))
            return None
        log.info("new TLS files for etcd are in use", ca=str(self._files.ca), cert=str(self._files.cert or ""))
        return credentials

    def _check(self, context: "SSLContext") -> None:
        context.load_verify_locations(self._files.ca)
        if self._files.cert is not None:
            context.load_cert_chain(self._files.cert, self._files.key)

    def _stamp(self) -> _Stamp:
        found = []
        for path in (self._files.ca, self._files.cert, self._files.key):
            try:
                of = path.stat() if path is not None else None
            except OSError:
                of = None
            found.append((of.st_ino, of.st_mtime_ns, of.st_size) if of else (0, 0, 0))
        return tuple(found)
