"""The page of faults names tests: each of them exists."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "reference" / "faults.md").read_text()
NAMED_FILES = re.findall(r"`tests/((?:lab|sim|unit|real|contract)/[\w/]+\.py)`((?: [a-z]+_\w+,?)*)", PAGE)
NAMED_TESTS = re.findall(r"`(test_\w+)(\.\.\.)?`", PAGE)


def names_in(path: Path) -> list[str]:
    return re.findall(r"def (test_\w+)", path.read_text())


ALL_NAMES = {name for path in TESTS.rglob("test_*.py") for name in names_in(path)}


def test_the_page_names_tests() -> None:
    assert len(NAMED_FILES) > 20


@pytest.mark.parametrize(("path", "words"), sorted(set(NAMED_FILES)))
def test_a_file_that_is_named_exists_and_the_words_after_it_are_of_its_tests(path: str, words: str) -> None:
    names = names_in(TESTS / path)
    for part in re.findall(r"\w+", words):
        assert any(part in name for name in names), f"no test of {path} is called *{part}*"


@pytest.mark.parametrize(("name", "is_beginning"), sorted(set(NAMED_TESTS)))
def test_a_test_that_is_named_exists(name: str, is_beginning: str) -> None:
    assert name in ALL_NAMES or (is_beginning and any(one.startswith(name) for one in ALL_NAMES))
