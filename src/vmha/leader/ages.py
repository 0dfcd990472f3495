"""For how long this process has known each request, outcome and proof: wall clocks are set at any time.

A leader asks before every plan, and between two plans these rarely change: names are gone through only when one came
or went, and an age is counted only when somebody asks for it.
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from vmha.policy.asked.requests import aging
from vmha.policy.state.snapshot import Snapshot

Name = TypeVar("Name", bound=Hashable)


class Ages:
    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._seen: Snapshot | None = None

    def look(self, snapshot: Snapshot, now: float) -> Mapping[str, float]:
        """The ages at ``now``, by ``requests.aging``'s names. Snapshots share what did not change."""
        seen = self._seen
        if seen is None or not (
            seen.requests is snapshot.requests
            and seen.outcomes is snapshot.outcomes
            and seen.fenced is snapshot.fenced
            and seen.frozen is snapshot.frozen
            and seen.pause is snapshot.pause
        ):
            self._since = {name: self._since.get(name, now) for name in aging(snapshot)}
        self._seen = snapshot
        return AgesAt(self._since, now)


class AgesAt(Mapping[Name, float], Generic[Name]):
    """How old each is at ``now``, by since when it has been."""

    __slots__ = ("_now", "_since")

    def __init__(self, since: Mapping[Name, float], now: float) -> None:
        self._since, self._now = since, now

    def __getitem__(self, name: Name) -> float:
        return self._now - self._since[name]

    def get(self, name: Name, default: Any = None) -> Any:
        """As that of every ``Mapping``, in one call: a plan asks for each outcome."""
        since = self._since.get(name)
        return default if since is None else self._now - since

    def __iter__(self) -> Iterator[Name]:
        return iter(self._since)

    def __len__(self) -> int:
        return len(self._since)
