"""The two forms of a line in the log."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vmha.model.errors import Rejected
from vmha.node.beside import Beside
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


TELLS_A_LOT = """
import structlog
from vmha.node.logs import set_up_logging
set_up_logging("info")
log = structlog.get_logger("x")
for number in range(60_000):
    log.info("x" * 100, number=number)
print("went on")
"""


def test_reader_that_stands_still_holds_nobody_up() -> None:
    """journald with a hung disk, say: what waited for it would send no beats."""
    read, write = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", TELLS_A_LOT], stdout=subprocess.PIPE, stderr=write, text=True, timeout=60, check=True
        )
    finally:
        os.close(read)
        os.close(write)
    assert done.stdout == "went on\n"


@pytest.mark.parametrize("trouble", ["full", "gone"])
def test_log_that_can_not_be_written_ends_nobody(trouble: str) -> None:
    if trouble == "full":
        stderr = os.open("/dev/full", os.O_WRONLY)
    else:
        read, stderr = os.pipe()
        os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-c", WRITES.format(form="json")], stderr=stderr, timeout=60, check=False
        )
    finally:
        os.close(stderr)
    assert done.returncode == 0


def test_what_was_left_out_is_counted_and_told_when_there_is_room_again() -> None:
    read, write = os.pipe()
    told: list[int] = []
    stream = Beside(write, tell_lost=told.append, most_bytes=100_000)
    for _ in range(1000):
        print("x" * 999, file=stream, flush=True)  # a pipe takes 64 KiB, and nobody reads
    seen = 0
    while seen < 1000 * (1000 - sum(told)) or not told:
        seen += len(os.read(read, 65536))
    assert stream.drain(10.0)
    os.close(read)
    os.close(write)
    assert 0 < sum(told) < 1000
