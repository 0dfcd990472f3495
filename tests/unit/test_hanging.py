"""A run of tests that hangs says where it does, and does not hold anybody up: after its last test, too."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEFT_BEHIND = """\
import threading

def test_that_leaves_a_thread_behind():
    threading.Thread(target=threading.Event().wait, name="left behind").start()
"""


def test_process_that_does_not_end_after_its_last_test_says_where_and_is_ended(tmp_path: Path) -> None:
    (tmp_path / "test_hangs.py").write_text(LEFT_BEHIND)
    options = ["-o", "faulthandler_exit_on_timeout=true", "-p", "no:cacheprovider", "-p", "tests.conftest"]
    for timeout_s in (2, 16, 120):  # a busy machine may take as long for the test itself
        limit = ["-o", f"faulthandler_timeout={timeout_s}"]
        command = [sys.executable, "-m", "pytest", "--rootdir", str(tmp_path), *options, *limit, str(tmp_path)]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
        assert "Timeout (" in said.stderr
        assert said.returncode == 1
        if is_after_it := "1 passed" in said.stdout:
            break
    assert is_after_it
    assert "in wait" in said.stderr
