"""The base of every document a person may write: strict about keys, frozen once read, errors in plain words."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from vmha.model.errors import Rejected

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.+:@-]*$"
"""Names of vms, nodes and failover domains: what libvirt, etcd keys and shells all take without quoting."""


class Document(BaseModel):
    """A frozen record with named fields; an unknown key is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_enum_values=False)


def in_words(error: ValidationError, *, where: str) -> Rejected:
    """One message for all that is wrong: place, value and what would be accepted, a line each."""
    lines = []
    for found in error.errors(include_url=False):
        place = ".".join(str(part) for part in found["loc"]) or "(whole document)"
        lines.append(f"{where}: {place}: {_what_is_wrong(found)}")
    return Rejected("\n".join(lines))


def _what_is_wrong(found: Any) -> str:
    message = str(found["msg"]).removeprefix("Value error, ")
    value = found.get("input")
    if found["type"] == "extra_forbidden":
        return "unknown key"
    if found["type"] == "missing":
        return "is missing"
    if isinstance(value, str | int | float | bool):
        return f"{value!r}: {message}"
    return message
