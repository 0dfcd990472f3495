"""One Chromium for a module's tests, and dashboards over clusters in memory.

Not for longer than a module: Playwright's synchronous side keeps an event loop in this thread, and tests elsewhere want
one of their own.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.scenes import good_day
from tests.browser.served import Served, served
from tests.support.browsers import chromium
from tests.unit.web.operators import users_in


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alice may log in."""
    return users_in(tmp_path_factory.mktemp("users")).path


@pytest.fixture
def dashboard(users: Path) -> Iterator[Served]:
    with served(good_day, users) as found:
        yield found
