"""Large pages: a matter of speed alone."""

from pathlib import Path

import pytest

from vmha.sim import pages


def test_what_is_kept_is_the_same_afterwards() -> None:
    kept = bytes(range(256)) * (64 << 10)
    lists = [[number, str(number)] for number in range(50_000)]
    pages.use_large_pages()
    assert kept == bytes(range(256)) * (64 << 10)
    assert lists == [[number, str(number)] for number in range(50_000)]


def test_only_whole_pages_of_what_lies_in_no_file_are_asked_for(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(
        "00401000-00c01000 r-xp 00000000 fe:00 1 /usr/bin/python3.11\n"
        "00c01000-01001000 rw-p 00000000 fe:00 1 /usr/bin/python3.11\n"
        "02100000-02700000 rw-p 00000000 00:00 0 [heap]\n"
        "40000000-40900000 rw-p 00000000 00:00 0 \n"
        "50100000-502ff000 rw-p 00000000 00:00 0 \n"
        "60000000-60800000 r--p 00000000 00:00 0 \n"
        "7ffc00000000-7ffc00800000 rw-p 00000000 00:00 0 [stack]\n"
    )
    assert list(pages.own_memory(maps)) == [(0x2200000, 0x2600000), (0x40000000, 0x40800000)]


def test_system_that_does_not_tell_where_memory_lies_is_asked_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAPS", tmp_path / "not-there")
    pages.use_large_pages()
