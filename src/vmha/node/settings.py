"""The node's own settings, ``/etc/vmha/vmha.toml``: where the cluster is and who this node is.

Everything that concerns the whole cluster lives in etcd (``vmha config``), so that no two nodes can disagree on it.
"""

import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from vmha.model.document import Document, in_words
from vmha.model.errors import Rejected
from vmha.model.transport import DEFAULT_URI, check_template
from vmha.model.vm import Name
from vmha.model.web import WebSettings

DEFAULT_PATH = Path("/etc/vmha/vmha.toml")


class TlsSettings(Document):
    """Files in PEM form for mutual TLS to etcd."""

    ca: Path
    cert: Path
    key: Path


class NodeSettings(Document):
    cluster: Name = "vmha"
    node: Name = Field(default_factory=lambda: socket.gethostname().split(".")[0], validate_default=True)
    endpoints: tuple[Annotated[str, Field(min_length=1)], ...]
    tls: TlsSettings | None = None
    etcd_user: str = Field(
        default="", description="For an etcd with auth that wants a password; empty: the certificate's name counts."
    )
    etcd_password_file: str = ""
    address: str = Field(
        default="", description="Where peers reach this node; empty: the address etcd is reached from."
    )
    migration_address: str = Field(default="", description="Where guests' memory is sent; empty: as address.")
    migration_uri: Annotated[str, BeforeValidator(check_template)] = Field(
        default=DEFAULT_URI, description="The target's libvirtd, by tcp, tls or ssh; a vm may name another transport."
    )
    libvirt_uri: str = "qemu:///system"
    libvirt_run_dir: Path = Path("/run/libvirt/qemu")
    libvirt_log_dir: Path = Field(
        default=Path("/var/log/libvirt/qemu"), description="Guests' logs: how one ended while no agent ran."
    )
    run_dir: Path = Path("/run/vmha")
    state_dir: Path = Field(default=Path("/var/lib/vmha"), description="What must outlive a reboot.")
    hooks_dir: Path = Field(
        default=Path("/etc/vmha/hooks"), description="Programs that hooks of the cluster's settings may run here."
    )
    watchdog: str = Field(default="/dev/watchdog", description="Empty: none.")
    metrics_listen: Annotated[str, Field(pattern=r"^(\S+:\d{1,5})?$")] = Field(
        default="", description="Address and port of the Prometheus endpoint, 127.0.0.1:9590 say; empty: none."
    )
    peers_secret_file: Path | None = Field(
        default=None, description="Known to all agents of the cluster and to nobody else. None: no channel to them."
    )
    peers_listen: Annotated[str, Field(pattern=r"^\S+:\d{1,5}$")] = "0.0.0.0:7700"
    peers_address: Annotated[str, Field(pattern=r"^(\S+:\d{1,5})?$")] = Field(
        default="", description="Where the other agents reach this one; empty: address, at the port listened at."
    )
    peers_tls: bool = Field(
        default=False,
        description="Talk to the other agents by TLS, with the files of tls; all agents of the cluster do, or none.",
    )
    web: WebSettings | None = Field(default=None, description="The dashboard's, of ``vmha web`` on this node.")
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    log_format: Annotated[str, Field(pattern="^(json|logfmt)$")] = Field(
        default="json", description="A line of the log: an object, or name=value."
    )
    traces_to: Annotated[str, Field(pattern=r"^(https?://[^\s/@]+(/\S*)?)?$")] = Field(
        default="", description="A collector for OpenTelemetry (OTLP over HTTP), with its path; empty: no traces."
    )

    @property
    def guard_socket(self) -> Path:
        return self.run_dir / "guard.sock"


def read_settings(path: Path) -> NodeSettings:
    """Raises ``Rejected`` naming the file, the key, its value and what is accepted."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin a file with a mark
    except FileNotFoundError as error:
        raise Rejected(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Rejected(f"{path}: {error}") from error
    return check_settings(raw, where=str(path))


def check_settings(raw: Mapping[str, Any], *, where: str) -> NodeSettings:
    """Raises ``Rejected`` as ``read_settings`` does."""
    try:
        return NodeSettings.model_validate(raw)
    except ValidationError as error:
        raise in_words(error, where=where, document=NodeSettings) from error
