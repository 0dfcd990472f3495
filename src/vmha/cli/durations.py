"""Durations as people write them: 90, 90s, 30m, 2h, 1h30m, 1d."""

import re

from vmha.model.errors import Rejected

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)")


def read_duration(text: str, *, option: str) -> float:
    """In seconds, more than 0.

    Raises:
        Rejected: naming the option.
    """
    parts = _PART.findall(text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    whole = "".join(number + unit for number, unit in parts)
    bare = [unit for _, unit in parts[:-1] if not unit]
    if not parts or whole != text or bare or seconds <= 0:
        raise Rejected(f"{option} {text}", accepted="a time above 0, such as 90s, 30m, 2h, 1h30m or 1d")
    return seconds
