"""What holds for all tests."""

import faulthandler
import os
import sys

import pytest
from hypothesis import settings

# A property says what holds, not how fast: how long an example takes depends on what else the machine does.
# Where a change is judged (CI), the same examples are tried each time; everywhere else others, so that more are seen.
settings.register_profile("vmha", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("vmha")


def pytest_unconfigure(config: pytest.Config) -> None:
    """A process that hangs after its last test (a thread that does not end) says where, and ends, as one in a test."""
    if timeout_s := float(config.getini("faulthandler_timeout") or 0.0):
        is_to_end = bool(config.getini("faulthandler_exit_on_timeout"))
        faulthandler.dump_traceback_later(timeout_s, exit=is_to_end, file=sys.__stderr__)
