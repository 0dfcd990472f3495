"""The page that compares vmha with RGManager: every feature has a row, and every test that it names exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/rgmanager.md").read_text()
FEATURES = 70


def rows() -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\| \d.*$", PAGE, re.M)]


def test_every_feature_has_its_row() -> None:
    assert [int(row[0]) for row in rows()] == list(range(1, FEATURES + 1))
    assert {len(row) for row in rows()} == {5}


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)
    assert named
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not re.search(rf"^(?:async )?def {test}\(", (ROOT / "tests" / file).read_text(), re.M)
    ]
    assert missing == []


def test_what_is_said_to_be_there_is_shown_by_a_test() -> None:
    claimed = [row for row in rows() if row[2].startswith(("yes", "partly", "deliberately not"))]
    assert [row[1] for row in claimed if "::" not in row[4]] == []


def test_every_file_that_the_page_names_exists() -> None:
    files = re.findall(r"`((?:agent|cli|fencing|hypervisor|leader|model|node|operator|policy)/[\w/]+\.py)`", PAGE)
    assert [file for file in files if not (ROOT / "src/vmha" / file).exists()] == []
