"""``vmha demo``: the story is told to its end, and nothing of it stays, however it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.doc_story import ROOT

from .conftest import TIMEOUT_S, make_directory, wait_until

pytestmark = pytest.mark.lab

COMMAND = (sys.executable, "-m", "vmha", "demo")
TYPED = ("make", "--silent", "--old-file=run-ready", f"VMHA={' '.join(COMMAND[:-1])}", "demo")
"""As the pages have it, with what the tests run by: nothing is installed on the way."""


def _start(directory: Path, command: Sequence[str] = COMMAND) -> "subprocess.Popen[str]":
    """``directory`` is where it makes its temporary files; a job in the background, as a shell script starts one."""
    return subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_demo_shows_every_step_and_leaves_nothing() -> None:
    directory = make_directory()
    try:
        told, _ = (demo := _start(directory, TYPED)).communicate(timeout=2 * TIMEOUT_S)
        assert demo.returncode == 0, told
        for step in ("its memory intact", "is dark", "fenced  h1", "after the cut", "came home by live migration"):
            assert step in told
        assert "never two at once, 2 boots" in told
        assert "3 migrations survived" in told
        assert "\x1b" not in told
        assert list(directory.iterdir()) == []
    finally:
        directory.rmdir()


def test_a_demo_that_is_told_to_end_takes_its_lab_down() -> None:
    directory = make_directory()
    try:
        demo = _start(directory)
        wait_until("its lab is up", lambda: list(directory.glob("*/lab/etcd.sock")), TIMEOUT_S)
        demo.send_signal(signal.SIGTERM)
        told, _ = demo.communicate(timeout=TIMEOUT_S)
        assert demo.returncode == 130, told
        assert list(directory.iterdir()) == []
    finally:
        directory.rmdir()
