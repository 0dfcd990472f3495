"""Labs for tests: built by the command line as a user would, taken down whatever happens."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import command_line
from tests.support.waiting import look_until
from vmha.lab import client
from vmha.lab.events import follow
from vmha.lab.layout import LabDir

COMMAND = (sys.executable, "-c", "from vmha.cli.lab import app; app(prog_name='vmha lab')")
TIMEOUT_S = 90.0


def wait_until(what: str, look: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """Look again and again until ``look`` returns something true; returns that."""
    return look_until(look, what=what, within_s=timeout_s, each_s=0.1)


@dataclass(kw_only=True)
class LabRun:
    """One lab and the commands that go to it. ``prefix`` runs them as somebody else."""

    path: Path
    prefix: Sequence[str] = ()
    command: Sequence[str] = COMMAND
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def run(self, *arguments: str, code: int | None = 0) -> str:
        """Run one verb; returns what it printed. ``code`` is the exit code it must end with (None: any)."""
        environment = self.environment | {"VMHA_LAB": str(self.path)}
        if self.prefix or self.command is not COMMAND:
            command = [*self.prefix, *self.command, *arguments]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
            ended, out, err = done.returncode, done.stdout, done.stderr
        else:
            ended, out, err = command_line.call(
                command_line.VMHA_LAB, arguments, environment=environment, timeout_s=TIMEOUT_S
            )
        assert code is None or ended == code, f"{arguments}: {ended}\n{out}{err}"
        return out + err

    def up(self, *arguments: str) -> str:
        return self.run("up", "--no-agents", *arguments)

    def sh(self, node: str, script: str, code: int | None = 0) -> str:
        """Run a shell script inside a machine."""
        return self.run("exec", node, "--", "sh", "-c", script, code=code).strip()

    def spawn(self, node: str, script: str) -> "subprocess.Popen[str]":
        """Start a python program inside a machine and leave it running."""
        return subprocess.Popen(
            [*self.prefix, *self.command, "exec", node, "--", "python3", "-u", "-c", script],
            env=self.environment | {"VMHA_LAB": str(self.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def status(self) -> dict[str, Any]:
        """Asked directly: starting the command line costs more than everything it does."""
        found: dict[str, Any] = client.ask(LabDir(self.path), "status")
        return found

    def node(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(node for node in self.status()["nodes"] if node["name"] == name)
        return found

    def verdict(self, vm: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("verdict", vm, "--json"))
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in follow(LabDir(self.path)) if event["event"] == name]

    def switch_everything_on(self) -> None:
        """Back to where a test may begin: every machine on, no cable cut, nothing frozen."""
        for node in self.status()["nodes"]:
            if node["frozen"]:
                self.run("thaw", node["name"])
            for link in node["cut"]:
                self.run("heal", node["name"], "--link", link)
            if node["power"] == "off":
                self.run("start", node["name"])


def make_directory() -> Path:
    """Short: a unix socket's path has 107 bytes, and pytest's own directories are long."""
    return Path(tempfile.mkdtemp(prefix="vmha-lab-", dir="/tmp"))


def running_lab(*arguments: str) -> Iterator[LabRun]:
    directory = make_directory()
    lab = LabRun(path=directory / "lab")
    try:
        lab.up(*arguments)
        yield lab
    finally:
        lab.run("down", code=None)
        shutil.rmtree(directory)


@pytest.fixture
def unbuilt_lab() -> Iterator[LabRun]:
    """A directory for a lab, nothing in it yet."""
    directory = make_directory()
    lab = LabRun(path=directory / "lab")
    try:
        yield lab
    finally:
        lab.run("down", code=None)
        shutil.rmtree(directory)
