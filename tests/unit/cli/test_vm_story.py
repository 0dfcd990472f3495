"""What ``--since`` of a story takes."""

from datetime import datetime

import pytest

from vmha.cli.vm_story import _when
from vmha.model.errors import Rejected

NOON = datetime(2026, 3, 4, 12, 0, 0).timestamp()


@pytest.mark.parametrize(
    ("text", "back_s"),
    [
        ("90s", 90),
        ("2h", 7200),
        ("11:30", 1800),
        ("11:59:30", 30),
        ("13:00", 23 * 3600),  # of yesterday
        ("2026-03-04T11:00", 3600),
        ("2026-03-03", 36 * 3600),
    ],
)
def test_times_and_durations_are_taken(text: str, back_s: float) -> None:
    assert _when(text, NOON) == NOON - back_s


@pytest.mark.parametrize("text", ["yesterday", "-2h", "0", "25:00", ""])
def test_what_is_neither_is_refused_with_what_would_do(text: str) -> None:
    with pytest.raises(Rejected, match=r"--since .*such as 90s, 2h"):
        _when(text, NOON)
