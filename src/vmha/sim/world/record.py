"""What the store committed, revision by revision, as raw bytes: kept also where the store has forgotten it."""

import json
from dataclasses import dataclass, field
from typing import Any

from vmha.model.ids import Revision
from vmha.store.memory import MemoryEtcd


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One key changed by one commit. ``key`` has no cluster prefix; ``value`` None: deleted."""

    key: str
    value: bytes | None
    _plain: list[dict[str, Any]] = field(default_factory=list, repr=False, compare=False)

    def read(self) -> dict[str, Any]:
        """The value as plain JSON, not to be changed; empty for a deletion. Several judges read the same."""
        if not self._plain:
            self._plain.append(json.loads(self.value) if self.value is not None else {})
        return self._plain[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitLine:
    """``at_s`` is the loop's time, the same clock as the fabric's history."""

    at_s: float
    revision: int
    written: tuple[Written, ...]


class Record:
    def __init__(self, etcd: MemoryEtcd, prefix: str) -> None:
        self._etcd, self._prefix = etcd, prefix
        self._next = 1
        self.lines: list[CommitLine] = []

    def catch_up(self) -> "Record":
        """Take over what was committed since the last call. To be called before the store forgets history."""
        for commit in self._etcd.commits(self._next, self._prefix):
            self._next = commit.batch.revision + 1
            self.lines.append(
                CommitLine(
                    at_s=commit.at_s,
                    revision=commit.batch.revision,
                    written=tuple(
                        Written(key=change.key.removeprefix(self._prefix), value=change.kv.value if change.kv else None)
                        for change in commit.batch.changes
                    ),
                )
            )
        return self

    def begin_again(self, revision: int) -> None:
        """The store goes on from an earlier revision."""
        self._next = revision + 1

    def is_quiet_since(self, revision: Revision) -> bool:
        """Has anything but beats and journal entries been committed after ``revision``?"""
        self.catch_up()
        for line in reversed(self.lines):
            if line.revision <= revision:
                return True
            if any(not _is_routine(written.key) for written in line.written):
                return False
        return True


def _is_routine(key: str) -> bool:
    return key.startswith("journal/") or key.endswith("/beat")
