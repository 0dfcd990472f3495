"""Secrets taken out of lines that are to be handed to somebody: by their values, where those are known, and by names.

A program that fails repeats its input, and libvirt what it was given: so every value that the store or this node's
files hold as a secret is looked for in each line, whatever stands around it. What follows a name like ``password``
goes too.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vmha.model.secret_names import SECRET_NAMES, names_a_place, names_a_secret

REDACTED = "(taken out)"

_BY_NAME = re.compile(
    rf"""(?P<name>(?P<quote>\\?["']?){SECRET_NAMES}(?P=quote)\s*[:=]\s*)"""
    r"""(?:(?P<edge>\\?["']).*?(?P=edge)|(?!\\?["'])[^\s,;&<>)\]}]+)""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(authorization:\s*\w+\s+|\bbearer\s+)\S+", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(\b\w+://[^\s/:@]*:)[^\s/@]+(@)")
_IN_XML = re.compile(r"""\b(?:passwd|password)\s*=\s*(?:'([^']+)'|"([^"]+)")""")
_LONG_ENOUGH = 4
"""A shorter secret is taken out only where it stands alone: else it would take letters out of words."""


class Redactor:
    def __init__(self, secrets: Iterable[str]) -> None:
        known = sorted({form for secret in secrets if secret for form in _forms(secret)}, key=len, reverse=True)
        parts = [re.escape(one) if len(one) >= _LONG_ENOUGH else rf"(?<!\w){re.escape(one)}(?!\w)" for one in known]
        self._known = re.compile("|".join(parts)) if parts else None

    def clean(self, text: str) -> str:
        if self._known:
            text = self._known.sub(REDACTED, text)
        text = _BEARER.sub(rf"\g<1>{REDACTED}", text)
        text = _IN_ADDRESS.sub(rf"\g<1>{REDACTED}\g<2>", text)
        return _BY_NAME.sub(_without_value, text)

    def clean_all(self, value: Any) -> Any:
        """Each text in plain data."""
        match value:
            case str():
                return self.clean(value)
            case dict():
                return {name: self.clean_all(part) for name, part in value.items()}
            case list() | tuple():
                return [self.clean_all(part) for part in value]
            case _:
                return value


def _without_value(found: re.Match[str]) -> str:
    if names_a_place(found["name"].rstrip(" :=\"'\\")):
        return found[0]  # where a secret is, not what it is
    edge = found["edge"] or ""
    return f"{found['name']}{edge}{REDACTED}{edge}"


def _forms(secret: str) -> Iterator[str]:
    """As it is, and as it stands in a line of JSON, and in JSON that is told in one."""
    forms = [secret]
    for _ in range(2):
        forms += [json.dumps(form, ensure_ascii=is_plain)[1:-1] for form in forms for is_plain in (True, False)]
    yield from forms


def secrets_of(value: Any) -> Iterator[str]:
    """Values of a record of the store that are secret: options of fence agents by their names, passwords in XML."""
    match value:
        case dict():
            for name, part in value.items():
                if isinstance(part, str) and names_a_secret(str(name)):
                    yield part
                yield from secrets_of(part)
        case list():
            for part in value:
                yield from secrets_of(part)
        case str():
            for single, double in _IN_XML.findall(value):
                yield single or double


def secrets_in_files(settings: dict[str, Any]) -> Iterator[str]:
    """What the files hold that this node's settings name as secret, as far as they can be read."""
    for name, path in settings.items():
        if name in ("peers_secret_file", "etcd_password_file") and path:
            try:
                yield from Path(str(path)).read_text(encoding="utf-8").split()
            except (OSError, ValueError):
                continue
