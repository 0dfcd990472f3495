"""The man pages that are made from the command line: one for each verb, and a strict reader takes them."""

import re
import runpy
import subprocess
from pathlib import Path

import pytest
import typer

from vmha.cli.exits import ExitCode
from vmha.cli.grammar import is_group, verbs_of
from vmha.cli.root import app

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/man.py"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    made: dict[str, str] = runpy.run_path(str(SCRIPT))["pages"]()
    return made


def plain(page: str) -> str:
    return re.sub(r"\\f.", "", page).replace(r"\-", "-").replace(r"\&", "")


def test_there_is_a_page_for_each_verb_with_all_its_options(pages: dict[str, str]) -> None:
    verbs = dict(verbs_of(typer.main.get_command(app)))
    assert set(pages) == {"vmha.1", *(f"vmha-{name}.1" for name in verbs)}
    for name, command in verbs.items():
        page = plain(pages[f"vmha-{name}.1"])
        for leaf in [leaf for _, leaf in verbs_of(command)] if is_group(command) else [command]:
            for param in leaf.params:
                assert param.param_type_name == "argument" or param.opts[0] in page, (name, param.opts)


def test_the_main_page_names_every_verb_and_every_exit_code(pages: dict[str, str]) -> None:
    page = plain(pages["vmha.1"])
    for name, _ in verbs_of(typer.main.get_command(app)):
        assert f"vmha-{name}(1)" in page
    for code in ExitCode:
        assert f"\n{code.value}\n{code.name.lower().replace('_', ' ')}\n" in page


def test_a_strict_reader_finds_nothing_but_that_they_bear_no_date(pages: dict[str, str], tmp_path: Path) -> None:
    for name, page in pages.items():
        (tmp_path / name).write_text(page)
    lint = ["mandoc", "-T", "lint", "-W", "warning", *sorted(map(str, tmp_path.iterdir()))]
    said = subprocess.run(lint, capture_output=True, text=True, timeout=60, check=False).stdout
    assert [line for line in said.splitlines() if "missing date" not in line] == []
