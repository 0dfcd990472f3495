"""Tokens: by what a program that asks here is known, and for how long.

A token is a random word that is told once, to whoever made it. What is kept is its SHA-256: a word of 256 bits can not
be found by trying, so there is nothing that a slow hash would add. It ends by itself, or by being revoked.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vmha.model.errors import Rejected
from vmha.operator.errors import unknown_name
from vmha.web.access import AccessFile, Role, Token, checked_name

PREFIX = "vmha_"
"""So that people, and programs that look for secrets in the wrong places, know one when they see it."""
LONGEST_S = 5 * 366 * 86400.0
DEFAULT_FOR = "90d"


class Tokens:
    """The tokens of one file, as it is now."""

    def __init__(self, file: AccessFile | Path) -> None:
        self._file = file if isinstance(file, AccessFile) else AccessFile(file)

    @property
    def path(self) -> Path:
        return self._file.path

    def all(self) -> Mapping[str, Token]:
        """Expired ones as well. Raises: Rejected: the file can not be read, or must not be trusted."""
        return self._file.now().tokens

    def find(self, word: str, wall: float) -> tuple[str, Token] | None:
        """Its name and what it may; None: there is no such token, or not any more. Raises: Rejected."""
        digest = _digest(word)
        for name, token in self.all().items():
            if secrets.compare_digest(token.digest, digest) and not token.has_expired(wall):
                return name, token
        return None

    def make(self, name: str, *, role: Role, for_s: float, wall: float) -> str:
        """The word, which nobody can tell again.

        Raises:
            Rejected: a name that is taken or none, a time that is too long.
        """
        checked_name("token", name)
        if not 0 < for_s <= LONGEST_S:
            raise Rejected(f"a token for {for_s:g} s", accepted="a time above 0 and of five years at most")
        if name in self.all():
            raise Rejected(f"there is a token {name} already", accepted=f"another name, or first: token revoke {name}")
        word = PREFIX + secrets.token_urlsafe(32)
        token = Token(digest=_digest(word), role=role, made_at=wall, expires_at=wall + for_s)
        self._write({**self.all(), name: token})
        return word

    def revoke(self, name: str) -> None:
        """Raises: UnknownName, Rejected."""
        if name not in self.all():
            raise unknown_name("token", name, self.all())
        self._write({one: token for one, token in self.all().items() if one != name})

    def _write(self, tokens: Mapping[str, Token]) -> None:
        self._file.write(replace(self._file.now(), tokens=tokens))


def _digest(word: str) -> str:
    return hashlib.sha256(word.encode(errors="surrogatepass")).hexdigest()
