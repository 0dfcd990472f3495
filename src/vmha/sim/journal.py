"""The journal as the store's record has it: also what has expired, or was compacted away."""

from collections.abc import Sequence
from dataclasses import dataclass

from vmha.sim.world.record import CommitLine


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLine:
    """``at_s``: the loop's time, at which it was committed; the writer's own clock may be wrong."""

    at_s: float
    by: str
    kind: str
    vm: str | None
    node: str | None
    text: str

    def __str__(self) -> str:
        about = " ".join(part for part in (self.vm, f"({self.node})" if self.node else None) if part)
        return f"{self.at_s:9.3f} {self.by} {self.kind}{f' {about}' if about else ''}: {self.text}"


def read_journal(record: Sequence[CommitLine]) -> list[JournalLine]:
    """In the order in which the entries were committed."""
    lines = []
    for commit in record:
        for written in commit.written:
            if written.key.startswith("journal/") and written.value is not None:
                entry = written.read()
                lines.append(
                    JournalLine(
                        at_s=commit.at_s,
                        by=entry["by"],
                        kind=entry["kind"],
                        vm=entry["vm"],
                        node=entry["node"],
                        text=entry["text"],
                    )
                )
    return lines
