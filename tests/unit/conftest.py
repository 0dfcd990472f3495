"""What the tests of several rooms are given."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from vmha.pki.authority import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Of the cluster ``prod``."""
    return Authority.create(tmp_path / "pki", cluster="prod", now=datetime.now(UTC), days=900)
