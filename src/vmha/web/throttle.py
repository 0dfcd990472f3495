"""How often somebody may try to log in: after some failures each has to wait, longer and longer, up to a minute.

Counted for each address, and for each name whoever tries it. The second would let a stranger keep the administrator out
by failing under that name for ever; so it does not hold for an address from which this user has logged in before, nor
for this machine itself (``ssh -L``). Whoever has to wait is not heard at all: trying does not prolong the wait.
Time is an argument; nothing here reads a clock.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace

FREE = 5
"""Failures before the first wait."""
LONGEST_S = 60.0
FORGOTTEN_S = 900.0
MOST_KEPT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    count: int = 0
    last: float = 0.0

    def wait_s(self, now: float) -> float:
        if self.count < FREE:
            return 0.0
        return max(0.0, self.last + min(LONGEST_S, 2.0 ** (self.count - FREE)) - now)


class Throttle:
    def __init__(self) -> None:
        self._failures: dict[Hashable, Failures] = {}
        self._known: dict[tuple[str, str], float] = {}

    def wait_s(self, address: str, name: str, now: float) -> float:
        """For how long this attempt has to wait; 0: it is heard."""
        by_address = self._of(("address", address), now).wait_s(now)
        if self._is_known(address, name):
            return by_address
        return max(by_address, self._of(("name", name), now).wait_s(now))

    def tried(self, address: str, name: str, now: float) -> None:
        """Counts as a failure until it is known to have succeeded: many at once must not be free."""
        about: list[Hashable] = [("address", address)]
        if not self._is_known(address, name):
            about.append(("name", name))
        for key in about:
            found = self._of(key, now)
            self._failures.pop(key, None)
            self._failures[key] = replace(found, count=found.count + 1, last=now)
        while len(self._failures) > MOST_KEPT:
            del self._failures[next(iter(self._failures))]  # the oldest

    def succeeded(self, address: str, name: str, now: float) -> None:
        self._failures.pop(("address", address), None)
        if (found := self._failures.get(("name", name))) and not self._is_known(address, name):
            self._failures[("name", name)] = replace(found, count=found.count - 1)
        self._known[(address, name)] = now
        while len(self._known) > MOST_KEPT:
            del self._known[next(iter(self._known))]

    def _is_known(self, address: str, name: str) -> bool:
        return (address, name) in self._known or address in ("127.0.0.1", "::1")

    def _of(self, key: Hashable, now: float) -> Failures:
        found = self._failures.get(key)
        return found if found and now - found.last < FORGOTTEN_S else Failures()
