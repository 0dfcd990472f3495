"""Who wrote to a shared disk, and when: the storage server's memory, a second witness beside the disk itself.

Pure: time and writes are handed in. It judges three things per export:

- **double writers**: a connection writes after a later one took over. QEMU opens its own connection per instance and
  closes the old side of a migration before the new side writes, so this is two instances on one disk.
- **longest gap**: the longest time between two writes that followed each other, on the server's own clock. A witness
  guest writes about 18 times a second as long as it runs, so the gap is how long nobody ran it.
- **migrations survived**: the writing moved to another host, and the guest's nonce stayed while its tick went on by
  one (or was the same: a write that was sent again). Read from the head sector, which a witness rewrites at each tick.
"""

from dataclasses import dataclass

from vmha.lab.witness.entry import HEAD_OFFSET, Entry, find_entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One NBD connection, numbered in the order of arrival."""

    number: int
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterEvent:
    """Something worth a line in the lab's journal."""

    event: str
    writer: str
    other: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterReport:
    """What the server knows about one export since it was first written, or since the last mark for the gap."""

    writes: int
    writer: str
    handovers: int
    double_writers: int
    migrations_survived: int
    longest_gap_s: float
    since_last_write_s: float | None


class Writers:
    """The record of one export."""

    def __init__(self) -> None:
        self._current: Connection | None = None
        self._retired: set[int] = set()
        self._writes = 0
        self._handovers = 0
        self._double_writers = 0
        self._migrations = 0
        self._last_s: float | None = None
        self._gap_from_s: float | None = None
        self._longest_gap_s = 0.0
        self._head: Entry | None = None
        self._head_host = ""

    def note_write(self, connection: Connection, offset: int, data: bytes, now_s: float) -> WriterEvent | None:
        """One write request, before it is carried out."""
        self._note_time(now_s)
        self._writes += 1
        if offset == HEAD_OFFSET:
            self._note_head(connection.host, data)
        return self._note_writer(connection)

    def mark(self, now_s: float) -> None:
        """Measure the longest gap from here on."""
        self._gap_from_s = now_s if self._last_s is not None else None
        self._longest_gap_s = 0.0

    def report(self, now_s: float) -> WriterReport:
        return WriterReport(
            writes=self._writes,
            writer=_name(self._current) if self._current else "",
            handovers=self._handovers,
            double_writers=self._double_writers,
            migrations_survived=self._migrations,
            longest_gap_s=round(self._longest_gap_s, 3),
            since_last_write_s=round(now_s - self._last_s, 3) if self._last_s is not None else None,
        )

    def _note_time(self, now_s: float) -> None:
        since_s = max((s for s in (self._last_s, self._gap_from_s) if s is not None), default=now_s)
        self._longest_gap_s = max(self._longest_gap_s, now_s - since_s)
        self._last_s = now_s

    def _note_head(self, host: str, data: bytes) -> None:
        entry = find_entry(data)
        if entry is None:
            return
        before = self._head
        if before is not None and host != self._head_host and entry.nonce == before.nonce:
            self._migrations += entry.tick - before.tick in (0, 1)
        self._head, self._head_host = entry, host

    def _note_writer(self, connection: Connection) -> WriterEvent | None:
        current = self._current
        if current is not None and current.number == connection.number:
            return None
        self._current = connection
        if current is None:
            return WriterEvent(event="writer", writer=_name(connection))
        self._retired.add(current.number)
        if connection.number not in self._retired:
            self._handovers += current.host != connection.host
            return WriterEvent(event="writer", writer=_name(connection), other=_name(current))
        self._double_writers += 1
        # Two instances take turns many times a second: say it at 1, 10, 100 ... and keep the count.
        if str(self._double_writers).strip("0") != "1":
            return None
        return WriterEvent(
            event="double-writer", writer=_name(connection), other=_name(current), count=self._double_writers
        )


def _name(connection: Connection) -> str:
    return f"{connection.host}#{connection.number}"
