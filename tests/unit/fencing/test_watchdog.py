"""The watchdog adapter on things that are no watchdog; the ioctls themselves are tried on a device."""

import os
from pathlib import Path

import pytest

from vmha.fencing.watchdog import Watchdog


def test_no_path_is_no_watchdog_and_says_so() -> None:
    watchdog = Watchdog("")
    watchdog.open(10)
    assert (watchdog.is_open, watchdog.is_exact) == (False, False)
    assert watchdog.reading.reason == "no watchdog is configured"


@pytest.mark.parametrize("make", [lambda path: None, os.mkfifo])
def test_a_path_that_can_not_be_opened_is_a_reason_not_an_error(tmp_path: Path, make: object) -> None:
    make(tmp_path / "watchdog")  # type: ignore[operator]
    watchdog = Watchdog(str(tmp_path / "watchdog"))
    watchdog.open(10)
    assert not watchdog.is_open
    assert str(tmp_path / "watchdog") in watchdog.reading.reason


def test_a_device_without_ioctls_does_not_count_but_is_petted_by_writing_and_closed_by_v(tmp_path: Path) -> None:
    path = tmp_path / "watchdog"
    path.touch()
    watchdog = Watchdog(str(path))
    watchdog.open(8)
    assert (watchdog.is_open, watchdog.is_exact, watchdog.pet_every_s) == (True, False, 2.0)
    assert "can not be set" in watchdog.reading.reason
    assert watchdog.find_time_left_s() is None
    watchdog.pet()
    assert watchdog.close()
    assert path.read_bytes() == b"\0\0V"
    assert not watchdog.is_open
