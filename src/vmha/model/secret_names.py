"""Names under which secrets stand: of options of fence agents, of settings, in the words of programs."""

import re
from typing import Final

SECRET_NAMES: Final = r"[\w.-]*(?:passw|passphrase|secret|token|community|api_?key|hexadecimal_kg)[\w.-]*"
_IS_NAME = re.compile(SECRET_NAMES, re.IGNORECASE)
_PATHS = ("_file", "_script", "_path")
"""What such a name ends with when it says where the secret is, and not what it is."""


def names_a_secret(name: str) -> bool:
    """Is what stands under this name a secret, and not the place of one?"""
    return _IS_NAME.fullmatch(name) is not None and not names_a_place(name)


def find_script_option(name: str) -> str | None:
    """The option in which fence agents that take this password take a program that prints it."""
    return f"{name}_script" if name.lower().endswith(("passwd", "password")) else None


def names_a_place(name: str) -> bool:
    return name.lower().endswith(_PATHS)
