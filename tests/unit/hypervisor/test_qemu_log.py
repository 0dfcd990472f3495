"""libvirt's own note of how a guest ended: the last one counts, and only if nothing began after it."""

import gzip
import os
import resource
import shutil
from pathlib import Path

import pytest

from vmha.hypervisor.real.qemu_log import TAIL_BYTES, read_last_ending

START = "2026-03-01 10:00:00.000+0000: starting up libvirt version: 9.0.0, package: 9.0.0-4\n"
QEMU = "char device redirected to /dev/pts/0 (label charserial0)\nqemu-system-x86_64: terminating on signal 15\n"
LEFT = "2026-03-01 10:05:00.500+0000: shutting down, reason=migrated\n"
DIED = "2026-03-01 10:06:00.000+0000: shutting down, reason=crashed\n"
LEFT_AT, DIED_AT = "2026-03-01 10:05:00.500+0000", "2026-03-01 10:06:00.000+0000"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (START + QEMU + LEFT, ("migrated", LEFT_AT)),
        (START + LEFT + START + DIED, ("crashed", DIED_AT)),
        (START + LEFT + START, None),
        (START, None),
        ("", None),
        (START + "a guest that writes shutting down, reason=migrated\n", None),
        ("x" * TAIL_BYTES + "\n" + LEFT, ("migrated", LEFT_AT)),
    ],
)
def test_last_note_of_a_log(tmp_path: Path, text: str, expected: tuple[str, str] | None) -> None:
    (tmp_path / "web.log").write_text(text)
    assert read_last_ending(tmp_path, "web") == expected


def test_log_that_there_is_no_descriptor_left_for_is_not_taken_for_an_absent_one(tmp_path: Path) -> None:
    """Or a guest that has left would be taken for one that crashed, and started again."""
    (tmp_path / "web.log").write_text(START + LEFT)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            read_last_ending(tmp_path, "web")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert read_last_ending(tmp_path, "web") == ("migrated", LEFT_AT)


def test_absent_log_and_a_name_that_is_a_path_tell_nothing(tmp_path: Path) -> None:
    assert read_last_ending(tmp_path, "web") is None
    assert read_last_ending(tmp_path / "a", "../web") is None


def copy_and_truncate(log: Path, to: str, *, at: float) -> Path:
    """As logrotate does where it is told ``copytruncate``: who has the log open goes on writing into the same file."""
    copy = log.with_name(to)
    shutil.copy(log, copy)
    os.utime(copy, (at, at))
    os.truncate(log, 0)
    return copy


def test_departure_is_told_after_the_log_was_cut_off(tmp_path: Path) -> None:
    """Or a guest that has left would be taken for one that crashed, and started again beside itself."""
    log = tmp_path / "web.log"
    log.write_text(START + QEMU + LEFT)
    copy_and_truncate(log, "web.log.1", at=100)
    assert read_last_ending(tmp_path, "web") == ("migrated", LEFT_AT)


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (START, None),
        (QEMU, ("migrated", LEFT_AT)),
        (START + DIED, ("crashed", DIED_AT)),
        ("x" * TAIL_BYTES + "\n" + QEMU, None),
    ],
    ids=["begun anew", "nothing of libvirt's", "ended anew", "more than is read"],
)
def test_what_stands_in_the_log_since_it_was_cut_off_counts_before_it(
    tmp_path: Path, since: str, expected: tuple[str, str] | None
) -> None:
    log = tmp_path / "web.log"
    log.write_text(START + LEFT)
    copy_and_truncate(log, "web.log.1", at=100)
    log.write_text(since)
    assert read_last_ending(tmp_path, "web") == expected


@pytest.mark.parametrize(
    "names", [("web.log.1", "web.log.0"), ("web.log-20260302", "web.log-20260309"), ("web.log.2", "web.log.1")]
)
def test_newest_of_the_logs_before_counts_however_they_are_called(tmp_path: Path, names: tuple[str, str]) -> None:
    log = tmp_path / "web.log"
    for number, (name, text) in enumerate(zip(names, (START + DIED + START, LEFT), strict=True)):
        log.write_text(text)
        copy_and_truncate(log, name, at=100 + number)
    assert read_last_ending(tmp_path, "web") == ("migrated", LEFT_AT)
    log.unlink()
    assert read_last_ending(tmp_path, "web") == ("migrated", LEFT_AT), "renamed, and not yet made anew"


def test_compressed_log_is_read_and_half_of_one_is_not(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    log.write_text(START + LEFT)
    former = copy_and_truncate(log, "web.log.1", at=100)
    packed = former.with_name("web.log.1.gz")
    whole = gzip.compress(former.read_bytes())
    packed.write_bytes(whole[:20])
    assert read_last_ending(tmp_path, "web") == ("migrated", LEFT_AT), "while it is made the other one is there"
    former.unlink()
    assert read_last_ending(tmp_path, "web") is None
    packed.write_bytes(whole)
    assert read_last_ending(tmp_path, "web") == ("migrated", LEFT_AT)


def test_logs_of_others_are_not_taken_for_one_before(tmp_path: Path) -> None:
    (tmp_path / "web.log").write_text("")
    for other in ("web.log.1.log", "web.log.old", "web-2.log", "aweb.log.1", "web.log.1~"):
        (tmp_path / other).write_text(START + LEFT)
    assert read_last_ending(tmp_path, "web") is None
