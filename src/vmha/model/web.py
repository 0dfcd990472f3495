"""The settings of a dashboard, in a table ``[web]`` of a node's settings file, or as ``vmha web`` is told."""

import ipaddress
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from vmha.model.document import Document

DEFAULT_LISTEN = "127.0.0.1:9780"
DEFAULT_USERS = Path("/etc/vmha/web/users.json")


class WebSettings(Document):
    listen: Annotated[str, Field(pattern=r"^\S+:\d{1,5}$")] = Field(
        default=DEFAULT_LISTEN, description="Address and port."
    )
    names: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,253}$")], ...] = Field(
        default=(), description="Names by which browsers reach it; addresses and this host's own name always do."
    )
    cert: Path | None = Field(default=None, description="For HTTPS: certificate (with its chain) in PEM form.")
    key: Path | None = None
    users: Path = Field(
        default=DEFAULT_USERS, description="Who may log in: written by vmha web user, mode 0600. No file: nobody."
    )
    public: bool = Field(
        default=True, description="Whoever reaches it may read. false: reading, too, needs a log-in or a token."
    )
    https_in_front: bool = Field(
        default=False, description="A proxy in front of it speaks HTTPS: log-in is offered though we are asked plainly."
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key go together (accepted: both, or none of them)")
        return self

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])

    @property
    def over_tls(self) -> bool:
        return self.cert is not None

    @property
    def why_no_login(self) -> str:
        """'': nobody on the way can read a password."""
        if self.over_tls or self.https_in_front or self.host == "localhost":
            return ""
        try:
            if ipaddress.ip_address(self.host).is_loopback:
                return ""
        except ValueError:
            pass
        return (
            f"no log-in on {self.listen}: passwords would cross the network in clear text "
            "(settings web.cert and web.key, or listen on 127.0.0.1)"
        )
