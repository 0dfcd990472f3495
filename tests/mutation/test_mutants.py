"""The list of mutants and what is told of it agree; each is a change of something that is there."""

from pathlib import Path

import pytest

from tests.model.planted import CAUGHT

from .mutants import BY_NAME, MUTANTS

PAGE = (Path(__file__).parents[2] / "docs" / "explanation" / "mutations.md").read_text()


def test_every_mutant_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_mutant_changes_what_is_there_and_leaves_no_trace(mutant: object) -> None:
    one = BY_NAME[mutant.name]  # type: ignore[attr-defined]
    changes = one.changes()
    before = [getattr(owner, name) for owner, name, _ in changes]
    with one.in_place():
        assert [getattr(owner, name) for owner, name, _ in changes] != before
    assert [getattr(owner, name) for owner, name, _ in changes] == before


def test_page_tells_of_every_mutant_and_of_those_that_are_caught() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    told = {line.split("`")[1] for line in rows}
    caught = {line.split("`")[1] for line in rows if "fault" in line and "make model" in line}
    assert told == set(BY_NAME)
    assert caught == set(CAUGHT)
