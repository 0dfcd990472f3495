"""Who may log in: names with salted scrypt hashes, in a file of mode 0600. Without users nobody can change anything.

The file is read again whenever it is another one than before, so that a user who is removed or has a new password is
logged out with the next request. What can not be trusted (others may read or write the file, or it is not of this form)
lets nobody in, and says so.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vmha.model.errors import Rejected
from vmha.operator.errors import unknown_name

SHORTEST, LONGEST = 10, 200
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
LARGEST_FILE_BYTES = 1 << 20

_N, _R, _P = 2**15, 8, 1
"""32 MiB and about a tenth of a second for each attempt."""
_MOST_N = 2**17


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordHash:
    """With what it takes to make it again: later versions may ask for more work."""

    salt: bytes
    digest: bytes
    n: int = _N
    r: int = _R
    p: int = _P

    def fits(self, password: str) -> bool:
        found = _scrypt(password, self.salt, self.n, self.r, self.p)
        return hmac.compare_digest(found, self.digest)


NOBODY = PasswordHash(salt=b"nobody", digest=b"")
"""What is computed for a name that is none: an answer must not tell by its time whether there is such a user."""


def hashed(password: str) -> PasswordHash:
    """Raises: Rejected, without the password."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Rejected(f"a password of {len(password)} characters", accepted=f"{SHORTEST} to {LONGEST} characters")
    salt = secrets.token_bytes(16)
    return PasswordHash(salt=salt, digest=_scrypt(password, salt, _N, _R, _P))


class Users:
    """The users of one file, as it is now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: object = None
        self._found: dict[str, PasswordHash] = {}

    def all(self) -> Mapping[str, PasswordHash]:
        """Raises: Rejected: the file can not be read, or must not be trusted."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self._stamp, self._found = None, {}
            return self._found
        except OSError as error:
            raise Rejected(f"{self.path} can not be read: {error.strerror}", accepted=_ACCEPTED) from error
        stamp = (found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode)
        if stamp != self._stamp:
            self._found = _read(self.path)
            self._stamp = stamp
        return self._found

    def find(self, name: str) -> PasswordHash | None:
        """None: there is no such user. Raises: Rejected."""
        return self.all().get(name)

    def put(self, name: str, password: str, *, replace: bool = False) -> None:
        """Raises: Rejected: a name that is taken or none, a password that is too short."""
        if not NAME.fullmatch(name):
            raise Rejected(
                f"user {name!r}", accepted="up to 32 letters, digits and ._-, beginning with a letter or digit"
            )
        users = dict(self.all())
        if name in users and not replace:
            raise Rejected(f"there is a user {name} already", accepted="another name, or a new password: --replace")
        users[name] = hashed(password)
        _write(self.path, users)

    def remove(self, name: str) -> None:
        """Raises: UnknownName, Rejected."""
        users = dict(self.all())
        if name not in users:
            raise unknown_name("user", name, users)
        del users[name]
        _write(self.path, users)


_ACCEPTED = "a file of mode 0600 that vmha web user add has written"


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    given = password.encode(errors="surrogatepass")
    return hashlib.scrypt(given, salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)


def _read(path: Path) -> dict[str, PasswordHash]:
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
        return {str(name): _hash_of(given) for name, given in json.loads(text)["users"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Rejected(f"{path} is no file of users", accepted=_ACCEPTED) from error


def _hash_of(given: Mapping[str, object]) -> PasswordHash:
    n, r, p = (int(str(given[key])) for key in ("n", "r", "p"))
    if not (1 < n <= _MOST_N and n & (n - 1) == 0 and 0 < r <= 16 and 0 < p <= 4):
        raise ValueError("work that is out of bounds")
    salt, digest = (base64.b64decode(str(given[key]), validate=True) for key in ("salt", "hash"))
    if len(salt) < 8 or len(digest) != 32:
        raise ValueError("salt or hash of another length")
    return PasswordHash(salt=salt, digest=digest, n=n, r=r, p=p)


def _write(path: Path, users: Mapping[str, PasswordHash]) -> None:
    """Whole or not at all; never readable by others, not even while it is being written."""
    said = {
        name: {
            "scheme": "scrypt",
            "n": one.n,
            "r": one.r,
            "p": one.p,
            "salt": base64.b64encode(one.salt).decode(),
            "hash": base64.b64encode(one.digest).decode(),
        }
        for name, one in sorted(users.items())
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # of mode 0600
        try:
            with os.fdopen(descriptor, "w") as stream:
                if os.geteuid() == 0:  # the folder's owner is who is to read it: a dashboard that is not root
                    folder = path.parent.stat()
                    os.fchown(descriptor, folder.st_uid, folder.st_gid)
                json.dump({"schema": 1, "users": said}, stream, indent=1)
                stream.write("\n")
                stream.flush()
                os.fsync(stream.fileno())
            Path(made).replace(path)
        except BaseException:
            Path(made).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Rejected(f"{path} can not be written: {error.strerror}", accepted="--file, or as root") from error
