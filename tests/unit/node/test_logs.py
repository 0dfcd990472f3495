"""The two forms of a line in the log."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vmha.model.errors import Rejected
from vmha.node.settings import read_settings

WRITES = """
import structlog
from vmha.node.logs import set_up_logging
from vmha.tracing.operation import operation
set_up_logging("info", "{form}")
log = structlog.get_logger("x")
log.info("agent starts", node="h1")
with operation("START", "request-7", vm="web"):
    log.info("doing", vm="web", why='it said "no", twice')
    log.debug("not said at this level")
    with operation("stopped", "crashed-web-1"):
        log.warning("gone")
    try:
        raise OSError("disk full")
    except OSError:
        log.exception("not done")
log.info("agent ends")
"""


def lines_in(form: str) -> list[str]:
    """As a process of its own writes them: on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", WRITES.format(form=form)], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stderr.splitlines()


def test_each_line_is_one_object_and_has_the_cause_of_its_operation_and_of_no_other() -> None:
    lines = [json.loads(line) for line in lines_in("json")]
    assert [(line["event"], line.get("cause")) for line in lines] == [
        ("agent starts", None),
        ("doing", "request-7"),
        ("gone", "crashed-web-1"),
        ("not done", "request-7"),
        ("agent ends", None),
    ]
    assert lines[1] | {"timestamp": ""} == {
        "timestamp": "",
        "level": "info",
        "event": "doing",
        "cause": "request-7",
        "vm": "web",
        "why": 'it said "no", twice',
    }
    assert "disk full" in lines[3]["exception"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('log_format = "yaml"', "log_format"),
        ('traces_to = "collector:4318"', "traces_to"),
        ('traces_to = "http://me:secret@collector:4318/v1/traces"', "traces_to"),
    ],
)
def test_setting_that_is_wrong_is_named(line: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "vmha.toml"
    file.write_text(f'node = "h1"\nendpoints = ["127.0.0.1:2379"]\n{line}\n')
    with pytest.raises(Rejected, match=said):
        read_settings(file)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, 'level=info event="agent starts" node=h1'),
        (1, 'level=info event=doing cause=request-7 vm=web why="it said \\"no\\", twice"'),
        (2, "level=warning event=gone cause=crashed-web-1"),
    ],
)
def test_name_and_value_is_the_other_form(number: int, said: str) -> None:
    lines = lines_in("logfmt")
    assert len(lines) == 5  # an exception stays in its line, too
    stamp, _, rest = lines[number].partition(" ")
    assert stamp.startswith("timestamp=")
    assert rest == said
