"""Hosts that join: what several files here give them."""

from pathlib import Path

import pytest


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "etc/vmha.toml"
