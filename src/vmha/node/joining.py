"""``vmha node join``: what a host needs to be a node, checked first and written then, all of it or nothing.

    certificates    ca.pem, cert.pem, key.pem: a folder that ``vmha pki issue`` made, or an authority's, which issues
    the secret      known to all agents (docs/howto/tls.md)
    the settings    written last: the package's units start nothing before they are there

Joining again is fine: what is there already stays byte for byte, what is new (a renewed certificate) takes its place,
and what contradicts the settings that are there is refused, with both values.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from vmha.model.errors import Refused, Rejected
from vmha.model.permissions import node_name
from vmha.node.container import to_toml
from vmha.node.handing_out import File, Holder, file_of, handed_out
from vmha.node.peers import read_secret
from vmha.node.settings import NodeSettings, check_settings, read_settings
from vmha.pki.authority import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """``user``: what the certificate is called in etcd; empty without one. ``notes``: what could be better."""

    settings: NodeSettings
    files: tuple[File, ...]
    user: str = ""
    notes: tuple[str, ...] = ()

    @property
    def can_ask(self) -> bool:
        """Whether there is a certificate to speak to etcd with, where one is needed: not before it is issued."""
        tls = self.settings.tls
        return tls is None or tls.cert.exists() or bool(self.content(tls.cert))

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
        addresses = tuple(dict.fromkeys(each for each in (settings.address, settings.migration_address) if each))
        holder = Holder(
            kind=Kind.NODE, name=settings.node, user=node_name(settings.cluster, settings.node), addresses=addresses
        )
        files += handed_out(certificates, holder, settings.cluster, settings.tls, now=now, only_look=only_look)
    if secret is not None and settings.peers_secret_file is not None:
        files.append(_secret(secret, settings.peers_secret_file))
    if text:
        files.append(File(path=config, content=text.encode(), mode=0o644, is_new=True))
    user = node_name(settings.cluster, settings.node) if settings.tls else ""
    return Joining(settings=settings, files=tuple(files), user=user, notes=tuple(_notes(settings)))


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


def _secret(source: Path, path: Path) -> File:
    secret = read_secret(source) + b"\n"
    if path.exists() and path.read_bytes().strip() != secret.strip():
        raise Refused(f"{path} holds another secret than {source}: all agents of a cluster have the same")
    return file_of(path, secret, 0o600)


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
