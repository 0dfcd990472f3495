"""Values that nobody of ours would write: noise, JSON of all shapes, and records with something wrong in them.

Drawn from a seed, so that a cluster that trips over one trips over it again.
"""

import json
import random  # noqa: TID251 (seeded)
from typing import Any

ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 10**30, -(10**30), 10**400, -(10**400), "9" * 400, 1e308, 1e-9, float("nan"), float("inf")),
    *("", " ", "n1", "n9", "web", "x" * 3000, "\x00", "\ud800", "\n", "../.."),
    *("held", "migrating", "stopped", "running"),
    *([], {}, [[]], [None], {"": None}, ["web"], [1] * 2000),
)
NOISE = (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"schema":' * 5000, b'"' + b"a" * 1_000_000 + b'"', b"9" * 5000)


def value(rng: random.Random, current: bytes | None) -> bytes:
    """Noise, any JSON, or ``current`` with one to three things changed."""
    match rng.randrange(10):
        case 0:
            return rng.choice(NOISE)
        case 1:
            return as_json(rng.choice(ODD))
    try:
        record = json.loads(current or b"{}")
    except (ValueError, RecursionError):
        record = {}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        record = changed(rng, record)
    return as_json(record)


def changed(rng: random.Random, value: Any) -> Any:
    """The same with one leaf replaced, taken away, or put beside it."""
    if isinstance(value, dict) and value:
        name = rng.choice(sorted(value))
        match rng.randrange(12):
            case 0:
                return {key: one for key, one in value.items() if key != name}
            case 1:
                return value | {"of_a_later_version": rng.choice(ODD)}
            case _:
                return value | {name: changed(rng, value[name])}
    if isinstance(value, list) and value and rng.randrange(3):
        at = rng.randrange(len(value))
        return [*value[:at], changed(rng, value[at]), *value[at + 1 :], *(value if rng.randrange(4) == 0 else [])]
    if isinstance(value, int | float) and rng.randrange(2):
        return rng.choice((0, -1, value + 1, value * 1000, 1e9, -1e9, 1e18, float("nan"), float("inf")))
    return rng.choice(ODD)


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()
