"""What was wrong on a command line, in our words: the value as it was given, and what would be accepted.

The command-line library hands its validator's English through ("Value error, ...", "Input should be ..."), which names
neither the value nor a near one.
"""

import difflib
import re
from typing import Any

_CHOICES = re.compile(r"(?P<given>'.*') is not one of (?P<all>'.*')\.?", re.DOTALL)


def in_our_words(wrong: Any) -> str:
    """The message for a parameter that could not be taken; as the library has it where we have nothing better."""
    message = str(wrong.message).removeprefix("Value error, ")
    if choices := _CHOICES.fullmatch(message):
        known = re.findall(r"'([^']*)'", choices["all"])
        near = difflib.get_close_matches(choices["given"].strip("'"), known, n=1)
        guess = f"did you mean {near[0]}?" if near else ""
        return f"{choices['given']}: " + " ".join(part for part in (guess, f"accepted: {', '.join(known)}") if part)
    errors = getattr(wrong.__cause__, "errors", None)
    found = errors()[0] if callable(errors) else None
    return message if found is None else _of_a_number(found, getattr(wrong.param, "help", None)) or message


def _of_a_number(found: dict[str, Any], meant: str | None) -> str | None:
    given, bounds = found.get("input"), found.get("ctx", {})
    shown = repr(given) if isinstance(given, str) else str(given)
    match found.get("type"):
        case "int_parsing" | "int_from_float" | "float_parsing":
            kind = "number" if found["type"] == "float_parsing" else "whole number"
            return f"{shown} is no {kind}" + (f" ({meant.rstrip('.')})" if meant else "")
        case "greater_than_equal":
            return f"{shown} is less than {bounds.get('ge')}, the least that is accepted"
        case "less_than_equal":
            return f"{shown} is more than {bounds.get('le')}, the most that is accepted"
        case _:
            return None
