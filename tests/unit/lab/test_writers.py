"""The storage server's oracle: who wrote, who wrote after having been replaced, and how long nobody wrote."""

import pytest

from vmha.lab.witness.entry import HEAD_OFFSET, Entry, pack_entry
from vmha.lab.writers import Connection, WriterEvent, Writers

H1 = Connection(number=1, host="h1")
H2 = Connection(number=2, host="h2")
H1_AGAIN = Connection(number=3, host="h1")


def head(nonce: int, tick: int) -> bytes:
    return pack_entry(Entry(seq=tick, nonce=nonce, tick=tick, foreign=0, boots=1, rtc=(0, 0, 0)))


def write(writers: Writers, connection: Connection, now_s: float, data: bytes = b"") -> WriterEvent | None:
    return writers.note_write(connection, HEAD_OFFSET if data else 8192, data, now_s)


def test_one_writer_is_said_once() -> None:
    writers = Writers()
    assert write(writers, H1, 0.0) == WriterEvent(event="writer", writer="h1#1")
    assert write(writers, H1, 0.1) is None
    report = writers.report(0.2)
    assert (report.writes, report.writer, report.handovers, report.double_writers) == (2, "h1#1", 0, 0)


def test_a_handover_is_no_double() -> None:
    writers = Writers()
    for number, connection in enumerate((H1, H1, H2, H2, H1_AGAIN)):
        write(writers, connection, number)
    report = writers.report(5.0)
    assert (report.handovers, report.double_writers) == (2, 0)


def test_a_reconnection_of_the_same_host_is_neither_handover_nor_double() -> None:
    writers = Writers()
    write(writers, H1, 0.0)
    write(writers, H1_AGAIN, 1.0)
    report = writers.report(1.0)
    assert (report.handovers, report.double_writers) == (0, 0)


def test_a_connection_that_writes_after_it_was_replaced_is_a_double_writer() -> None:
    writers = Writers()
    write(writers, H1, 0.0)
    write(writers, H2, 0.1)
    assert write(writers, H1, 0.2) == WriterEvent(event="double-writer", writer="h1#1", other="h2#2", count=1)
    assert writers.report(0.2).double_writers == 1


def test_every_double_write_is_counted_and_few_are_said() -> None:
    writers = Writers()
    said = [write(writers, connection, 0.0) for _ in range(60) for connection in (H1, H2)]
    assert writers.report(0.0).double_writers == 118
    assert [event.count for event in said if event and event.event == "double-writer"] == [1, 10, 100]


def test_a_migration_is_survived_when_nonce_and_tick_go_on() -> None:
    writers = Writers()
    write(writers, H1, 0.0, head(0xA, 7))
    write(writers, H2, 0.1, head(0xA, 8))
    write(writers, H2, 0.2, head(0xA, 9))
    assert writers.report(0.2).migrations_survived == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(head(0xA, 7), head(0xB, 1), id="restarted"),
        pytest.param(head(0xA, 7), head(0xA, 5), id="thrown back"),
        pytest.param(head(0xA, 7), head(0xA, 12), id="ticks lost"),
        pytest.param(head(0xA, 7), b"something else".ljust(512, b"\0"), id="no witness"),
    ],
)
def test_a_handover_that_lost_memory_is_not_a_migration_survived(first: bytes, second: bytes) -> None:
    writers = Writers()
    write(writers, H1, 0.0, first)
    write(writers, H2, 0.1, second)
    assert writers.report(0.1).migrations_survived == 0


def test_the_longest_gap_is_between_two_writes_of_anybody() -> None:
    writers = Writers()
    assert writers.report(99.0).since_last_write_s is None
    for connection, now_s in ((H1, 10.0), (H1, 10.1), (H2, 14.6), (H2, 14.7)):
        write(writers, connection, now_s)
    report = writers.report(20.0)
    assert report.longest_gap_s == pytest.approx(4.5)
    assert report.since_last_write_s == pytest.approx(5.3)


def test_a_mark_forgets_gaps_before_it_also_the_part_of_one_that_lasts() -> None:
    writers = Writers()
    write(writers, H1, 0.0)
    write(writers, H1, 9.0)
    writers.mark(12.0)
    assert writers.report(12.0).longest_gap_s == 0.0
    write(writers, H1, 13.0)
    assert writers.report(13.0).longest_gap_s == pytest.approx(1.0)
    write(writers, H1, 13.5)
    assert writers.report(13.5).longest_gap_s == pytest.approx(1.0)
