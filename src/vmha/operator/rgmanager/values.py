"""How RGManager read the values of attributes: C's ``atoi`` nearly everywhere, and a rule of its own for each truth.

Its rules are kept where a file depends on them. Where a value is nonsense, a reader here says so instead of guessing
a zero, and the caller reports it.
"""

import re

TRUE_WORDS = ("yes", "true", "1", "YES", "TRUE", "on", "ON")
"""What vm.sh took for true."""

DURATION = "seconds, or numbers with s, m, h, d, w or y: 3600, 10m, 1h30m"
_LONGEST_DURATION = 32
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def atoi(text: str) -> int:
    """As C: blanks, a sign, digits; whatever follows is ignored; 0 when there are no digits."""
    match = re.match(r"[ \t\n\r\f\v]*([+-]?[0-9]{1,18})", text)
    return int(match.group(1)) if match else 0


def is_flag(text: str) -> bool:
    """A failover domain's flags, and those of ``<rm>``."""
    return atoi(text) != 0


def is_autostart(text: str) -> bool:
    """By what its author meant: RGManager read ``yes``, ``true`` and ``on`` as off (the caller reports it)."""
    return text in TRUE_WORDS or (text != "no" and atoi(text) != 0)


def was_autostart(text: str) -> bool:
    """As RGManager read it."""
    return text != "no" and atoi(text) != 0


def is_exclusive(text: str) -> bool:
    return text == "yes" or atoi(text) > 0


def is_true_word(text: str) -> bool:
    return text in TRUE_WORDS


def find_number(text: str) -> int | None:
    """A whole number that is one to its end; None: it is none."""
    stripped = text.strip()
    return int(stripped) if re.fullmatch(r"[0-9]{1,9}", stripped) else None


def find_seconds(text: str) -> int | None:
    """A duration in seconds; None: it is none (RGManager then took 0)."""
    stripped = text.strip().lower()
    if not 0 < len(stripped) <= _LONGEST_DURATION or not re.fullmatch(r"(?:[0-9]+[smhdwy])*[0-9]*", stripped):
        return None
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)([smhdwy]?)", stripped))
