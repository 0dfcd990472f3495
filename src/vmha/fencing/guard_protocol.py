"""What the agent and the guard say to each other: one JSON object a line, a request and an answer, over a unix socket.

    {"op": "arm", "session": S, "hold_s": 10, "kill_lead_s": 1, "sent_at": T, "watchdog_s": 0, "managed": [UUID, ...]}
    {"op": "beat", "session": S, "sent_at": T, "committed_at": T, "managed": [...]}
    {"op": "expire", "session": S, "cause": "evicted"}
    {"op": "disarm", "session": S}        {"op": "status"}        {"op": "ping"}

``managed`` is the whole list of uuids (or names) the agent holds or is starting here, and replaces the one before;
without it the one before stays. ``committed_at`` (also of ``arm``) is kept for the agent's next process: when the last
beat was sent that is in the store; without it that is ``sent_at``. The answer is ``{"ok": true, "status": {...}}`` or
``{"ok": false, "error": WORD, "message": "...", "status": {...}}``, WORD a verdict of the deadline or ``invalid``.
Unknown fields are ignored, so that an older guard serves a newer agent. Standard library only: the guard imports this.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

# A list of ten thousand uuids fits; a client that never ends its line does not fill the guard's locked memory.
MAX_LINE_BYTES = 1024 * 1024
MAX_TEXT = 512
SOCKET_NAME = "guard.sock"


class NonsenseError(ValueError):
    """The line is no request of this protocol. The message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    session: str
    hold_s: float
    kill_lead_s: float
    sent_at: float
    watchdog_s: int = 0
    managed: frozenset[str] | None = None
    committed_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    session: str
    sent_at: float
    managed: frozenset[str] | None = None
    committed_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire:
    session: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disarm:
    session: str


@dataclass(frozen=True, slots=True)
class AskStatus:
    pass


@dataclass(frozen=True, slots=True)
class Ping:
    pass


def committed_at(request: Arm | Beat) -> float:
    """When the last committed beat was sent: an agent that does not tell knows of nothing but commits."""
    return request.sent_at if request.committed_at is None else request.committed_at


Request = Arm | Beat | Expire | Disarm | AskStatus | Ping


def parse_request(line: bytes) -> Request:
    """Read one line.

    Raises:
        NonsenseError: it is not JSON, not an object, or a field is missing or of another kind.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NonsenseError(f"not JSON: {str(error)[:100]}") from None
    if not isinstance(fields, dict):
        raise NonsenseError("not a JSON object")
    match fields.get("op"):
        case "arm":
            return Arm(
                session=_text(fields, "session"),
                hold_s=_seconds(fields, "hold_s"),
                kill_lead_s=_seconds(fields, "kill_lead_s"),
                sent_at=_seconds(fields, "sent_at"),
                watchdog_s=_whole_seconds(fields, "watchdog_s"),
                managed=_managed(fields),
                committed_at=_maybe_seconds(fields, "committed_at"),
            )
        case "beat":
            return Beat(
                session=_text(fields, "session"),
                sent_at=_seconds(fields, "sent_at"),
                managed=_managed(fields),
                committed_at=_maybe_seconds(fields, "committed_at"),
            )
        case "expire":
            return Expire(session=_text(fields, "session"), cause=_text(fields, "cause"))
        case "disarm":
            return Disarm(session=_text(fields, "session"))
        case "status":
            return AskStatus()
        case "ping":
            return Ping()
        case other:
            raise NonsenseError(f"op is {str(other)[:40]!r}, not one of arm, beat, expire, disarm, status, ping")


def encode(message: dict[str, Any]) -> bytes:
    """One line."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value or len(value) > MAX_TEXT:
        raise NonsenseError(f"{name} must be a text of 1 to {MAX_TEXT} characters")
    return value


def _seconds(fields: dict[str, Any], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NonsenseError(f"{name} must be a number of seconds")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds) or seconds < 0:
        raise NonsenseError(f"{name} must be a finite number of seconds, not negative")
    return seconds


def _maybe_seconds(fields: dict[str, Any], name: str) -> float | None:
    return None if fields.get(name) is None else _seconds(fields, name)


def _whole_seconds(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise NonsenseError(f"{name} must be a whole number of seconds from 0 to 65535")
    return value


def _managed(fields: dict[str, Any]) -> frozenset[str] | None:
    value = fields.get("managed")
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(word, str) and 0 < len(word) <= MAX_TEXT for word in value):
        raise NonsenseError("managed must be a list of uuids or names")
    return frozenset(value)
