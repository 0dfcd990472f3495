"""The command line, run in this process: what it said."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vmha.cli.main import run


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Vmha = Callable[..., Said]


def command_line(capfd: pytest.CaptureFixture[str]) -> Vmha:
    """Calls it in this process, as the environment says by then."""

    def call(*args: str | Path) -> Said:
        code = run([str(arg) for arg in args])
        said = capfd.readouterr()
        return Said(code, said.out, said.err)

    return call
