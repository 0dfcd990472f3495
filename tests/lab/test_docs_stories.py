"""Pages whose commands are typed, one after the other, into a lab: what they say is what happens."""

import shutil
from pathlib import Path

import pytest

from tests.lab.conftest import LabRun, make_directory
from tests.support.doc_story import ROOT, play

pytestmark = pytest.mark.lab


def test_tutorial_goes_as_it_says() -> None:
    directory = make_directory()
    lab = LabRun(path=directory / "lab")
    try:
        page = (ROOT / "docs/tutorial/first-failover.md").read_text()
        played = [line for line, _ in play(page, environment={"VMHA_LAB": str(lab.path)}, directory=Path(directory))]
        assert "vmha lab kill h2" in played
        assert "vmha lab verdict web" in played
    finally:
        lab.run("down", code=None)
        shutil.rmtree(directory)
