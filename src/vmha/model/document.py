"""The base of every document a person may write: strict about keys, frozen once read, errors in plain words."""

import difflib
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from vmha.model.errors import Rejected

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.+:@-]*$"
"""Names of vms, nodes and failover domains: what libvirt, etcd keys and shells all take without quoting."""

MOST_BITS = 256
"""Of a number. One of some hundred digits is no memory and no time, and whoever divided it would end by that."""


class Document(BaseModel):  # noqa: PLW1641 (pydantic makes the hash of what is frozen)
    """A frozen record with named fields; an unknown key is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_enum_values=False)

    def __eq__(self, other: object) -> bool:
        """pydantic's goes through the fields even of one and the same: settings are compared at every beat."""
        return self is other or super().__eq__(other)


def in_words(error: ValidationError, *, where: str, document: type[BaseModel] | None = None) -> Rejected:
    """One message for all that is wrong: place, value and what would be accepted, a line each.

    What is wrong between several fields has no place of its own: its words begin with the fields. ``document``: what it
    was to be; then a key that is not known suggests a near one.
    """
    lines = []
    for found in error.errors(include_url=False):
        place = ".".join(str(part) for part in found["loc"])
        keys = keys_of(document, found["loc"][:-1]) if document else ()
        lines.append(": ".join(filter(None, (where, place, what_is_wrong(found, keys=keys)))))
    return Rejected("\n".join(lines))


def keys_of(document: type[BaseModel], path: Sequence[int | str]) -> Sequence[str]:
    """Those that the mapping at ``path`` may have; none where that is no mapping of fields."""
    for part in path:
        if isinstance(part, str):
            inner = _field_of(document, part)
            if inner is None:
                return ()
            document = inner
    return [info.alias or name for name, info in document.model_fields.items()]


def _field_of(document: type[BaseModel], key: str) -> type[BaseModel] | None:
    for name, info in document.model_fields.items():
        if key in (name, info.alias):
            return _document_in(info.annotation)
    return None


def _document_in(annotation: Any) -> type[BaseModel] | None:
    """Of ``Timing | None``, ``tuple[Hook, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_document_in, get_args(annotation))), None)


def what_is_wrong(found: Any, *, keys: Sequence[str] = ()) -> str:
    """One error of pydantic's in our words: the value, and what would be accepted instead.

    Args:
        found: an item of ``ValidationError.errors()``.
        keys: the keys that the mapping around it may have, when they are known.
    """
    message, value = str(found["msg"]), short(found.get("input"))
    if "options" in found["loc"]:  # of a fence agent: passwords are among them
        value = "a value"
    match found["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(str(found["loc"][-1]), keys, n=1)
            accepted = f" (accepted: {', '.join(keys)})" if keys else ""
            return f"unknown key{f', did you mean {near[0]}?' if near else ''}{accepted}"
        case "missing":
            return "is missing"
        case "value_error":
            return message.removeprefix("Value error, ")
        case "string_pattern_mismatch" if found["ctx"]["pattern"] == NAME_PATTERN:
            return f"{value} (accepted: letters, digits and _.+:@-, beginning with a letter or digit)"
        case "string_pattern_mismatch" if ":\\d" in found["ctx"]["pattern"]:
            return f"{value} (accepted: ADDRESS:PORT)"
        case "tuple_type" | "list_type":
            return f"{value} (accepted: a list)"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{value} (accepted: a mapping)"
        case _ if message.startswith("Input should be "):
            return f"{value} (accepted: {message.removeprefix('Input should be ')})"
        case _:
            return f"{value}: {message[:1].lower()}{message[1:]}"


def short(value: Any) -> str:
    """A value as a message names it."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
