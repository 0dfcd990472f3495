"""Documents made to hurt: one line of words, in bounded time, and the process lives."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmha.model.errors import Rejected
from vmha.operator.document import load_document
from vmha.operator.yaml_source import parse_yaml

SWELLS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + at)}: &{chr(98 + at)} [{','.join(['*' + chr(97 + at)] * 10)}]\n" for at in range(9)
)
MERGES = SWELLS.replace("[x,x,x,x,x,x,x,x,x,x]", "{x: 1}").replace("[", "{<<: [").replace("]", "]}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(SWELLS, "too large", id="aliases that swell"),
        pytest.param(MERGES, "too large", id="merges that swell"),
        pytest.param("a: &a [*a]\n", "too large", id="it bites its tail"),
        pytest.param("a: " + "9" * 100_000, "f", id="a number of 100,000 digits"),
        pytest.param("a: 1" + ":59" * 20_000, "f:1: a number of", id="a sexagesimal number"),
        pytest.param("\nflag: !!bool x", "f:2: 'x' is no bool", id="no bool"),
        pytest.param("!!timestamp x", "f:1: 'x' is no timestamp", id="no timestamp"),
        pytest.param("a: 2001-99-99", "month", id="no date"),
        pytest.param("a: \0", "control characters", id="nul"),
        pytest.param("a: \ud800", "surrogates", id="surrogate"),
        pytest.param("a" * ((64 << 20) + 1), "characters", id="too long"),
    ],
)
def test_document_made_to_hurt_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_yaml(text, file="f")
    assert said in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("opening", ["[", "- ", "{a: "])
def test_depth_that_would_end_the_parser_is_refused(opening: str, tmp_path: Path) -> None:
    """In a process of its own: what this is about ended it by a segmentation fault."""
    file = tmp_path / "deep.yaml"
    file.write_text(opening * 100_000)
    done = subprocess.run(
        [sys.executable, "-m", "vmha", "apply", str(file), "--dry-run", "--endpoints", "127.0.0.1:1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done
    assert "nested" in done.stderr


@settings(max_examples=150, deadline=None, database=None)
@given(
    st.lists(
        st.sampled_from([*"[]{}|'#é1", "vms", "- ", "name", ": ", "\n", "  ", "&a ", "*a", "<<", "!!int ", "config"]),
        max_size=40,
    ).map("".join)
)
def test_any_text_is_a_document_or_refused(text: str) -> None:
    said = "f"
    try:
        load_document(text, file="f", base=Path("/nonexistent"))
    except Rejected as refused:
        said = str(refused)
    assert said.startswith("f")
