"""What is kept of a password: a salted scrypt hash, with what it takes to make it again."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from vmha.model.errors import Rejected

SHORTEST, LONGEST = 10, 200

_N, _R, _P = 2**15, 8, 1
"""32 MiB and about a tenth of a second for each attempt."""


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


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    given = password.encode(errors="surrogatepass")
    return hashlib.scrypt(given, salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)
