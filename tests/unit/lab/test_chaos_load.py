"""The programs that make a host busy, as scripts: they work until they are ended, and then all of it is gone."""

import subprocess
from pathlib import Path

import pytest

from tests.support.waiting import look_until
from vmha.lab.chaos.load import BEGIN_LOAD, END_LOAD


def at_work(place: Path) -> list[str]:
    """The command lines of those that name ``place``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(place) in line:
            found.append(line)
    return found


@pytest.fixture
def place(tmp_path: Path):
    def run(script: str) -> None:
        there = script.replace("/run/", f"{tmp_path}/").replace("/var/lib/", f"{tmp_path}/written-")
        subprocess.run(["sh", "-c", there], check=True, timeout=30)

    yield tmp_path, run
    run(END_LOAD)


def test_what_was_begun_works_until_it_is_ended_and_leaves_nothing(place) -> None:
    path, run = place
    run(BEGIN_LOAD)
    assert sum("computes" in line for line in at_work(path)) == 2
    look_until((path / "written-vmha-load").exists)
    run(END_LOAD)
    look_until(lambda: not at_work(path))
    assert list(path.iterdir()) == []


def test_what_is_ended_at_once_has_begun_and_is_ended_all_the_same(place) -> None:
    path, run = place
    for _ in range(3):
        run(f"{BEGIN_LOAD}; {END_LOAD}")
    look_until(lambda: not at_work(path))


def test_ending_where_nothing_was_begun_is_no_failure(place) -> None:
    path, run = place
    run(END_LOAD)
    assert list(path.iterdir()) == []


def test_it_has_begun_when_its_numbers_are_written_and_not_when_their_files_are_there(place) -> None:
    """What has not said its number yet could not be ended."""
    path, run = place
    slow = path / "slow"
    slow.mkdir()
    (slow / "setsid").write_text('#!/bin/sh\nsleep 0.2; exec /usr/bin/setsid "$@"\n')
    (slow / "setsid").chmod(0o755)
    numbers = [path / "vmha-load" / name for name in ("computes-0", "computes-1", "writes")]
    numbers[0].parent.mkdir()
    for number in numbers:
        number.touch()
    run(f"PATH={slow}:$PATH; {BEGIN_LOAD}")
    assert all(number.read_text() for number in numbers)
