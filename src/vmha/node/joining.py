"""``vmha node join``: what a host needs to be a node, checked first and written then, all of it or nothing.

    certificates    ca.pem, cert.pem, key.pem: a folder that ``vmha pki issue`` made, or an authority's, which issues
    the secret      known to all agents (docs/howto/tls.md)
    the settings    written last: the package's units start nothing before they are there

Joining again is fine: what is there already stays byte for byte, what is new (a renewed certificate) takes its place,
and what contradicts the settings that are there is refused, with both values.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from vmha.model.errors import Refused, Rejected
from vmha.model.permissions import node_name
from vmha.node.container import to_toml
from vmha.node.peers import read_secret
from vmha.node.settings import NodeSettings, TlsSettings, check_settings, read_settings
from vmha.pki.authority import CA, CERT, KEY, Authority, Issued, Kind, write_file
from vmha.pki.certificates import Pair, check_pair

DAYS: Final = 365
RENEWED_BEFORE: Final = timedelta(days=30)
"""One that the authority has issued before is handed out again, unless it expires this soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One that is to be as it says. ``is_new`` False: it is so already."""

    path: Path
    content: bytes
    mode: int
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """``user``: what the certificate is called in etcd; empty without one. ``notes``: what could be better."""

    settings: NodeSettings
    files: tuple[File, ...]
    user: str = ""
    notes: tuple[str, ...] = ()

    def content(self, path: Path) -> bytes:
        return next((file.content for file in self.files if file.path == path), b"")


def prepare(
    config: Path,
    given: Mapping[str, Any],
    *,
    certificates: Path | None = None,
    secret: Path | None = None,
    now: datetime,
    only_look: bool = False,
) -> Joining:
    """Reads, and writes nothing but what an authority issues (nothing, if ``only_look``).

    Args:
        config: The settings file.
        given: Settings that were asked for, by their names.
        certificates: A folder that was issued, or an authority's.
        secret: A file that holds the agents' secret.
        now: The certificate has to be good then.

    Raises:
        Rejected: something given is not as it has to be.
        Refused: what is there already says otherwise.
    """
    wanted = dict(given)
    if certificates is not None:
        wanted["tls"] = {name: str(config.parent / "tls" / f"{name}.pem") for name in ("ca", "cert", "key")}
    if secret is not None:
        wanted["peers_secret_file"] = str(config.parent / "peers.secret")
    settings, text = _settings(config, wanted)
    files: list[File] = []
    if certificates is not None and settings.tls is not None:
        files += _certificates(certificates, settings, settings.tls, now=now, only_look=only_look)
    if secret is not None and settings.peers_secret_file is not None:
        files.append(_secret(secret, settings.peers_secret_file))
    if text:
        files.append(File(path=config, content=text.encode(), mode=0o644, is_new=True))
    user = node_name(settings.cluster, settings.node) if settings.tls else ""
    return Joining(settings=settings, files=tuple(files), user=user, notes=tuple(_notes(settings)))


def write(files: Iterable[File]) -> None:
    """All of them, in this order; when one can not be written, those before it are as they were.

    Raises:
        Refused: one could not be written.
    """
    undo: list[tuple[Path, tuple[bytes, int] | None]] = []
    for file in files:
        if not file.is_new:
            continue
        try:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            old = (file.path.read_bytes(), file.path.stat().st_mode & 0o777) if file.path.exists() else None
            write_file(file.path, file.content, mode=file.mode)
        except OSError as error:
            for path, content in reversed(undo):
                if content is None:
                    path.unlink(missing_ok=True)
                else:
                    write_file(path, content[0], mode=content[1])
            raise Refused(f"{file.path}: {error.strerror}; nothing was changed") from error
        undo.append((file.path, old))


def _settings(config: Path, wanted: Mapping[str, Any]) -> tuple[NodeSettings, str]:
    """The settings that will be in force, and the file's text; none: it stays as it is."""
    if not config.exists():
        if not wanted.get("endpoints"):
            raise Rejected("node join: no endpoints", accepted="--endpoints HOST:2379,HOST:2379,HOST:2379")
        settings = check_settings(wanted, where="node join")
        values = {"cluster": settings.cluster, "node": settings.node, **wanted}
        return (
            settings,
            f"# Written by vmha node join. What else can be set: docs/reference/settings.md\n{to_toml(values)}",
        )
    there = read_settings(config)
    named = check_settings({"endpoints": there.endpoints, **wanted}, where="node join")
    differ = [
        f"{name} is {_word(getattr(there, name))} there, {_word(getattr(named, name))} was asked for"
        for name in wanted
        if name != "tls" and getattr(there, name) != getattr(named, name)
    ]
    if "tls" in wanted and there.tls is None:
        differ.append("tls is not there, and certificates were given")
    if differ:
        raise Refused(f"{config} says otherwise: {'; '.join(differ)}. Change the file, or leave that out")
    return there, ""


def _certificates(
    folder: Path, settings: NodeSettings, tls: TlsSettings, *, now: datetime, only_look: bool
) -> list[File]:
    if (folder / "state.json").exists():
        issued = _issue(Authority.open(folder), settings, now=now, only_look=only_look)
        if issued is None:
            return []
        folder = issued.folder
    try:
        ca, cert, key = ((folder / name).read_bytes() for name in (CA, CERT, KEY))
    except OSError as error:
        raise Rejected(
            f"--certificates {folder}: {error.filename}: {error.strerror}",
            accepted=f"{CA}, {CERT} and {KEY} as vmha pki issue makes them, or an authority's folder",
        ) from error
    known = check_pair(Pair(cert=cert, key=key), ca, now=now, where=str(folder))
    user = node_name(settings.cluster, settings.node)
    if known.common_name != user:
        raise Rejected(
            f"--certificates {folder}: the certificate is for {known.common_name}",
            accepted=f"{user}, of node {settings.node} in cluster {settings.cluster}",
        )
    pairs = ((tls.ca, ca, 0o644), (tls.key, key, 0o600), (tls.cert, cert, 0o644))
    return [_file(path, content, mode) for path, content, mode in pairs]


def _issue(authority: Authority, settings: NodeSettings, *, now: datetime, only_look: bool) -> Issued | None:
    if authority.cluster != settings.cluster:
        raise Rejected(f"--certificates: an authority of cluster {authority.cluster}", accepted=settings.cluster)
    addresses = tuple(dict.fromkeys(each for each in (settings.address, settings.migration_address) if each))
    last_day = max(known.expires for _, known in authority.trusted())  # none is good for longer than its authority
    for one in authority.issued():
        is_good = one.is_current and (one.known.expires - now > RENEWED_BEFORE or one.known.expires >= last_day > now)
        if (
            (one.kind, one.name) == (Kind.NODE, settings.node)
            and is_good
            and set(addresses) <= set(one.known.addresses)
        ):
            return one
    if only_look:
        return None
    return authority.issue(Kind.NODE, settings.node, addresses, now=now, days=DAYS)


def _secret(source: Path, path: Path) -> File:
    secret = read_secret(source) + b"\n"
    if path.exists() and path.read_bytes().strip() != secret.strip():
        raise Refused(f"{path} holds another secret than {source}: all agents of a cluster have the same")
    return _file(path, secret, 0o600)


def _file(path: Path, content: bytes, mode: int) -> File:
    try:
        is_there = path.read_bytes() == content and path.stat().st_mode & 0o777 == mode
    except OSError:
        is_there = False
    return File(path=path, content=content, mode=mode, is_new=not is_there)


def _notes(settings: NodeSettings) -> Iterable[str]:
    if settings.tls is None:
        yield "etcd is spoken to without TLS: whoever reaches it decides which vms run where (vmha pki)"
    if settings.peers_secret_file is None:
        yield "no secret is shared with the other agents: no failsafe and no fast suspicion (--peers-secret)"
    if not settings.watchdog:
        yield "no watchdog: the guard alone ends guests of a host that is cut off"
    elif not Path(settings.watchdog).exists():
        yield f"there is no watchdog {settings.watchdog}: modprobe the machine's driver, or softdog"


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
