"""The dashboard's own part of the settings file."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmha.model.web import WebSettings


OWN_SETTINGS = "/etc/vmha/web/vmha.toml"
"""Read instead of /etc/vmha/vmha.toml, where it is there."""


def prefer_own_settings() -> None:
    """A dashboard that must not read what its host's agent reads (a key) has a settings file of its own."""
    import os
    from pathlib import Path

    if "VMHA_CONFIG" not in os.environ and Path(OWN_SETTINGS).exists():
        os.environ["VMHA_CONFIG"] = OWN_SETTINGS


def settings_of_web(listen: str | None) -> "WebSettings":
    """Raises: Rejected."""
    from pydantic import ValidationError

    from vmha.cli.connect import settings_of
    from vmha.model.document import in_words
    from vmha.model.errors import Rejected
    from vmha.model.web import WebSettings

    written = settings_of().get("web", {})
    if not isinstance(written, dict):
        raise Rejected(f"web: {written!r}", accepted="a table: [web]")
    try:
        return WebSettings.model_validate({**written, **({"listen": listen} if listen is not None else {})})
    except ValidationError as error:
        raise in_words(error, where="web") from error
