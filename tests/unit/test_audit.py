"""What is made of pip-audit's answers: known vulnerabilities are named, and no answer is not taken for a good one."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

NONE: Any = {"name": "typer", "version": "0.15.1", "vulns": []}
SOME: Any = {"name": "h11", "version": "0.13", "vulns": [{"id": "PYSEC-1", "aliases": []}, {"id": "GHSA-2"}]}
UNKNOWN: Any = {"name": "aetcd", "skip_reason": "not found on PyPI"}


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ([NONE], 0, "no vulnerability is known of 1 packages"),
        ([NONE, UNKNOWN], 0, "not known there: aetcd"),
        ([NONE, SOME], 1, "h11 0.13: PYSEC-1, GHSA-2"),
        ([UNKNOWN], 75, "does not answer"),
        ([], 75, "does not answer"),
    ],
)
def test_an_answer_is_a_verdict_only_where_something_was_looked_at(answer: list[Any], code: int, words: str) -> None:
    verdict = runpy.run_path(str(Path(__file__).resolve().parents[2] / "scripts/audit.py"))["verdict"]
    got = verdict(json.dumps({"dependencies": answer, "fixes": []}))
    assert got[0] == code
    assert words in got[1]
