"""The page of faults names tests: each of them exists."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "reference" / "faults.md"
NAMED = re.findall(r"`((?:lab|sim|unit|real|contract)/[\w/]+\.py)`((?: [a-z]+_\w+,?)*)", PAGE.read_text())


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 20


@pytest.mark.parametrize(("path", "words"), sorted(set(NAMED)))
def test_what_shows_a_fault_exists(path: str, words: str) -> None:
    """The words after a file are parts of the names of its tests."""
    names = re.findall(r"def (test_\w+)", (TESTS / path).read_text())
    for part in re.findall(r"\w+", words):
        assert any(part in name for name in names), f"no test of {path} is called *{part}*"
