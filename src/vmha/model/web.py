"""The settings of a dashboard, in a table ``[web]`` of a node's settings file, or as ``vmha web`` is told."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from vmha.model.document import Document

DEFAULT_LISTEN = "127.0.0.1:9780"


class WebSettings(Document):
    listen: Annotated[str, Field(pattern=r"^\S+:\d{1,5}$")] = Field(
        default=DEFAULT_LISTEN, description="Address and port."
    )
    names: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,253}$")], ...] = Field(
        default=(), description="Names by which browsers reach it; addresses and this host's own name always do."
    )
    cert: Path | None = Field(default=None, description="For HTTPS: certificate (with its chain) in PEM form.")
    key: Path | None = None

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
