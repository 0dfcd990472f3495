"""The list of mutants and what is told of it agree; each is a change of something that is there."""

from pathlib import Path

import pytest

from tests.model.planted import CAUGHT
from vmha.sim.quiet import silence_logs

from .caught import SHOWN
from .directed import history_of, laws_broken
from .mutants import BY_NAME, MUTANTS
from .search import SCHEDULES, broken_by, recorded

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


@pytest.mark.parametrize("name", SHOWN)
def test_simulation_breaks_the_law_without_the_check_and_keeps_all_of_them_with_it(name: str) -> None:
    shown = SHOWN[name]
    silence_logs()
    if shown.history:
        history = history_of(shown.history)
        assert shown.law in laws_broken(name, history)
        assert shown.law not in laws_broken("", history)
    else:
        assert shown.law in broken_by(name, recorded(name)).laws()
        assert not broken_by("", recorded(name)).laws()


def test_every_schedule_on_record_is_told_of() -> None:
    assert {path.stem for path in SCHEDULES.iterdir()} == {name for name, shown in SHOWN.items() if not shown.history}


def test_no_fewer_than_twenty_checks_are_shown_to_be_needed() -> None:
    assert len({*SHOWN, *CAUGHT}) >= 20


def test_page_lists_exactly_what_is_caught_with_its_law_and_where_it_was_found() -> None:
    caught, not_caught = PAGE.split("## Not caught")
    told = dict(rows(caught))
    assert told.keys() == {*SHOWN, *CAUGHT}
    for name, words in told.items():
        assert ("`make model`" in words) == (name in CAUGHT), name
        if name in SHOWN:
            assert SHOWN[name].law in words, name
            assert (SHOWN[name].found if not SHOWN[name].history else "directed history") in words, name
    assert dict(rows(not_caught)).keys() == BY_NAME.keys() - told.keys()


def rows(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [(line.split("`")[1], line) for line in lines]
