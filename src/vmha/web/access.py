"""The file of those who are known here: users with a password and a role, tokens of programs. Mode 0600.

It is read again whenever it is another one than before, so that whoever is removed, or has another password or role,
is somebody else from the next request on. What can not be trusted (others may read or write the file, or it is not of
this form) lets nobody in, and says so. It holds no password and no token, only what they can be told by.
"""

import base64
import json
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from vmha.model.errors import Rejected
from vmha.web.passwords import PasswordHash

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
LARGEST_FILE_BYTES = 1 << 20
SCHEMA = 2
"""1 knew neither roles nor tokens: whoever is in such a file may do everything."""

_MOST_N = 2**17
_ACCEPTED = "a file of mode 0600 that vmha web user add has written"


class Role(StrEnum):
    READER = "reader"  # sees everything, changes nothing
    OPERATOR = "operator"  # may also do what the pages offer

    @property
    def may_do(self) -> bool:
        return self is Role.OPERATOR


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    password: PasswordHash
    role: Role = Role.OPERATOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """``digest``: SHA-256 of its word, which is drawn at random and too long to be guessed. Times by the wall clock."""

    digest: str
    role: Role
    made_at: float
    expires_at: float

    def has_expired(self, wall: float) -> bool:
        return wall >= self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    users: Mapping[str, User] = field(default_factory=dict)
    tokens: Mapping[str, Token] = field(default_factory=dict)


class AccessFile:
    """One file, as it is now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: object = None
        self._found = Access()

    def now(self) -> Access:
        """Nobody, where there is no file. Raises: Rejected: it can not be read, or must not be trusted."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self._stamp, self._found = None, Access()
            return self._found
        except OSError as error:
            raise Rejected(f"{self.path} can not be read: {error.strerror}", accepted=_ACCEPTED) from error
        stamp = (found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode)
        if stamp != self._stamp:
            self._found = _read(self.path)
            self._stamp = stamp
        return self._found

    def write(self, access: Access) -> None:
        """Whole or not at all; never readable by others, not even while it is being written. Raises: Rejected."""
        said = {
            "schema": SCHEMA,
            "users": {name: _plain_user(one) for name, one in sorted(access.users.items())},
            "tokens": {name: _plain_token(one) for name, one in sorted(access.tokens.items())},
        }
        try:
            self._write(json.dumps(said, indent=1) + "\n")
        except OSError as error:
            raise Rejected(
                f"{self.path} can not be written: {error.strerror}", accepted="--file, or as root"
            ) from error

    def _write(self, text: str) -> None:
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, made = tempfile.mkstemp(dir=folder, prefix=f".{self.path.name}.")  # of mode 0600
        try:
            with os.fdopen(descriptor, "w") as stream:
                if os.geteuid() == 0:  # the folder's owner is who is to read it: a dashboard that is not root
                    owner = folder.stat()
                    os.fchown(descriptor, owner.st_uid, owner.st_gid)
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            Path(made).replace(self.path)
        except BaseException:
            Path(made).unlink(missing_ok=True)
            raise


def checked_name(kind: str, name: str) -> str:
    """Raises: Rejected."""
    if not NAME.fullmatch(name):
        raise Rejected(
            f"{kind} {name!r}", accepted="up to 32 letters, digits and ._-, beginning with a letter or digit"
        )
    return name


def _read(path: Path) -> Access:
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o077:
                raise Rejected(
                    f"{path} can be read or written by others (mode {stat.S_IMODE(mode):04o})", accepted="0600"
                )
            text = stream.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise Rejected(f"{path} can not be read: {error.strerror}", accepted=_ACCEPTED) from error
    try:
        if len(text) > LARGEST_FILE_BYTES:
            raise ValueError("it is too large")
        said = json.loads(text)
        if said.get("schema", 1) not in range(1, SCHEMA + 1):
            raise ValueError("it was written by a newer vmha")
        return Access(
            users={str(name): _user_of(given) for name, given in said["users"].items()},
            tokens={str(name): _token_of(given) for name, given in said.get("tokens", {}).items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Rejected(f"{path} is no file of users", accepted=_ACCEPTED) from error


def _user_of(given: Mapping[str, object]) -> User:
    n, r, p = (int(str(given[key])) for key in ("n", "r", "p"))
    if not (1 < n <= _MOST_N and n & (n - 1) == 0 and 0 < r <= 16 and 0 < p <= 4):
        raise ValueError("work that is out of bounds")
    salt, digest = (base64.b64decode(str(given[key]), validate=True) for key in ("salt", "hash"))
    if len(salt) < 8 or len(digest) != 32:
        raise ValueError("salt or hash of another length")
    password = PasswordHash(salt=salt, digest=digest, n=n, r=r, p=p)
    return User(password=password, role=Role(str(given.get("role", Role.OPERATOR))))


def _token_of(given: Mapping[str, object]) -> Token:
    digest = str(given["sha256"])
    if len(bytes.fromhex(digest)) != 32:
        raise ValueError("a digest of another length")
    made_at, expires_at = (float(str(given[key])) for key in ("made_at", "expires_at"))
    if not 0 <= made_at < expires_at < float("inf"):
        raise ValueError("times that are none")
    return Token(digest=digest, role=Role(str(given["role"])), made_at=made_at, expires_at=expires_at)


def _plain_user(user: User) -> dict[str, Any]:
    one = user.password
    return {
        "role": user.role.value,
        "scheme": "scrypt",
        "n": one.n,
        "r": one.r,
        "p": one.p,
        "salt": base64.b64encode(one.salt).decode(),
        "hash": base64.b64encode(one.digest).decode(),
    }


def _plain_token(token: Token) -> dict[str, Any]:
    return {
        "role": token.role.value,
        "sha256": token.digest,
        "made_at": token.made_at,
        "expires_at": token.expires_at,
    }
