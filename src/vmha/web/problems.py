"""Errors of the API: problem documents (RFC 9457) that say which field, its value, and what would be accepted."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from vmha.model.document import what_is_wrong
from vmha.model.errors import Refused, Rejected, Retryable, VmhaError
from vmha.operator.errors import UnknownName

MEDIA_TYPE = "application/problem+json"
LONGEST_VALUE = 200
_TITLES = {
    400: "This can not be asked for in this way",
    401: "A token is needed",
    403: "This token may not do that",
    404: "There is no such thing",
    405: "Not by this method",
    409: "Not done",
    413: "Too large",
    414: "Too long",
    415: "Not in this form",
    421: "Not this server",
    429: "Too often",
    500: "This failed",
    503: "The cluster does not answer",
}


class Problem(Exception):
    """An answer that is no success. ``fields``: what of the question is wrong; ``more``: members of its own."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        fields: list[dict[str, Any]] | None = None,
        more: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.fields = status, fields or []
        self.more, self.headers = dict(more or {}), dict(headers or {})

    def answer(self) -> Response:
        said = {
            "type": "about:blank",
            "title": _TITLES.get(self.status, "Not done"),
            "status": self.status,
            "detail": str(self),
            **({"errors": self.fields} if self.fields else {}),
            **self.more,
        }
        return as_json(said, self.status, media_type=MEDIA_TYPE, headers=self.headers)


def wrong(field: str, value: object, accepted: str) -> dict[str, Any]:
    """One field that is not as it has to be. Long values are cut, and what is nested is not repeated."""
    plain = value if value is None or isinstance(value, bool | int | float) else str(value)
    if isinstance(value, list | dict):
        plain = "a list" if isinstance(value, list) else "a mapping"
    if isinstance(plain, str) and len(plain) > LONGEST_VALUE:
        plain = f"{plain[: LONGEST_VALUE - 3]}..."
    return {"field": field, "value": plain, "accepted": accepted}


def of_fields(found: list[dict[str, Any]]) -> Problem:
    """All that is wrong with a question, in one answer."""
    detail = "; ".join(f"{one['field']}: {one['value']!r} (accepted: {one['accepted']})" for one in found)
    return Problem(400, detail, fields=found)


def of_model(error: ValidationError, known: Mapping[str, str]) -> Problem:
    """``known``: the fields that there are, each with what it takes."""
    found = []
    for one in error.errors(include_url=False):
        field = ".".join(str(part) for part in one["loc"]) or "the body"
        value = None if one["type"] == "missing" else one.get("input")
        if one["type"] == "extra_forbidden":
            accepted = f"one of {', '.join(known)}"
        else:
            accepted = known.get(field) or what_is_wrong(one)
        found.append(wrong(field, value, accepted))
    return of_fields(found)


def of_error(error: VmhaError, fields: Mapping[str, str]) -> Problem:
    """An error of the families, as an answer. ``fields``: in which field what kind of name was given."""
    match error:
        case UnknownName():
            near = ", ".join(error.near) or f"there is no {error.kind} at all"
            field = fields.get(error.kind, error.kind)
            return Problem(404, str(error), fields=[wrong(field, error.name, near)])
        case Retryable():
            wait = str(max(1, round(error.retry_after_s)))
            return Problem(503, f"{error}. Nothing is known to be done.", headers={"retry-after": wait})
        case Rejected() if error.accepted:
            return Problem(409, str(error), more={"accepted": error.accepted})
        case Rejected() | Refused() | VmhaError():
            return Problem(409, str(error))


def in_kind(where: str, status: int, said: str, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that is no success to who asked there: a program, or somebody with a browser."""
    if where.startswith("/api/"):
        return Problem(status, said, headers=headers).answer()
    return PlainTextResponse(f"{said}\n", status, dict(headers or {}))


async def answer_in_kind(request: Request, error: Exception) -> Response:
    """What the routes themselves refuse: an address that is none, a method that is not for it."""
    assert isinstance(error, HTTPException)
    where = request.url.path
    said = error.detail if error.status_code != 404 else f"there is nothing at {where}"
    return in_kind(where, error.status_code, said, error.headers)


def as_json(
    said: Any, status: int = 200, *, media_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> Response:
    return Response(json_text(said), status, dict(headers or {}), media_type)


def json_text(said: Any) -> str:
    """In ASCII: whatever was asked with, the answer can be encoded."""
    return json.dumps(said, allow_nan=False, separators=(",", ":")) + "\n"
