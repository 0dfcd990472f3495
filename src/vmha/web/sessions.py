"""Who is logged in. Kept here, in memory: a browser holds a random word, we hold its hash and what it stands for.

A session ends by log-out, after an hour without a request or twelve in all, when its user is removed or has another
password or role, and with the process. Each has a token that every form of it repeats, so that no other site can make a
browser send one (beside SameSite=Strict, which says the same to browsers that know it).
"""

import hashlib
import secrets
from dataclasses import dataclass

from vmha.web.access import Role, User
from vmha.web.users import Users

IDLE_S = 3600.0
LONGEST_S = 12 * 3600.0
MOST = 1000
MOST_OF_ONE_USER = 20


@dataclass(slots=True, kw_only=True)
class Session:
    """``said``: what the next page tells once, of what was just asked for."""

    user: str
    known: User
    token: str
    began: float
    seen: float
    said: str = ""

    @property
    def role(self) -> Role:
        return self.known.role


class Sessions:
    def __init__(self, users: Users) -> None:
        self._users = users
        self._open: dict[str, Session] = {}

    def begin(self, user: str, known: User, now: float) -> str:
        """The word for the browser."""
        self._forget(now)
        theirs = [key for key, one in self._open.items() if one.user == user]
        for key in theirs[: max(0, len(theirs) - MOST_OF_ONE_USER + 1)]:
            del self._open[key]
        if len(self._open) >= MOST:
            del self._open[next(iter(self._open))]
        word = secrets.token_urlsafe(32)
        self._open[_key(word)] = Session(user=user, known=known, token=secrets.token_urlsafe(32), began=now, seen=now)
        return word

    def find(self, word: str, now: float, *, is_request: bool = True) -> Session | None:
        """``is_request`` False: only looked at; it ends as if nobody had.

        Raises:
            Rejected: the users can not be read.
        """
        found = self._open.get(_key(word))
        if found is None:
            return None
        if not _is_alive(found, now) or self._users.find(found.user) != found.known:
            del self._open[_key(word)]
            return None
        if is_request:
            found.seen = now
        return found

    def end(self, word: str) -> None:
        self._open.pop(_key(word), None)

    def _forget(self, now: float) -> None:
        self._open = {key: one for key, one in self._open.items() if _is_alive(one, now)}


def _is_alive(session: Session, now: float) -> bool:
    return now - session.seen < IDLE_S and now - session.began < LONGEST_S


def _key(word: str) -> str:
    return hashlib.sha256(word.encode(errors="replace")).hexdigest()
