"""A compose project as a test drives it: by the commands of docs/howto/containers.md, and looked at from outside."""

import contextlib
import json
import os
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.waiting import look_until

ROOT = Path(__file__).parents[2]
COMMAND_S = 240.0


def run(*command: str, stdin: str = "", code: int | None = 0, stderr: bool = False) -> str:
    """What it printed, with ``stderr`` also what it complained of. ``code``: its exit code must be that (None: any)."""
    done = subprocess.run(
        command, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=COMMAND_S, check=False
    )
    assert code is None or done.returncode == code, (
        f"{shlex.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
    )
    return done.stdout + (done.stderr if stderr else "")


def docker(*words: str, code: int | None = 0) -> str:
    return run("docker", *words, code=code)


def wait_until(what: str, look: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Look again and again until ``look`` returns something true; returns that."""
    return look_until(look, what=what, within_s=timeout_s, each_s=0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Compose files of the checkout, under a project's name of its own."""

    name: str
    files: tuple[str, ...] = ("docker-compose.yml",)
    environment: dict[str, str] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)

    def compose(self, *words: str, stdin: str = "", code: int | None = 0) -> str:
        program = shlex.split(os.environ.get("VMHA_COMPOSE", "docker compose"))
        where = ["--project-directory", str(ROOT), *(word for file in self.files for word in ("--file", file))]
        setting = [f"{name}={value}" for name, value in self.environment.items()]
        whole = ["env", *setting, *program, "--project-name", self.name, *where, *words]
        return run(*whole, stdin=stdin, code=code)

    def inside(self, service: str, *words: str, stdin: str = "", code: int | None = 0, stderr: bool = False) -> str:
        """As ``docker compose exec``, without the time that the plugin takes to begin."""
        whole = ("docker", "exec", "-i", self.container(service), *words)
        return run(*whole, stdin=stdin, code=code, stderr=stderr)

    def vmha(self, node: str, *words: str, stdin: str = "", code: int | None = 0) -> str:
        return self.inside(node, "vmha", *words, stdin=stdin, code=code)

    def status(self, node: str) -> dict[str, Any]:
        """As ``node`` sees the cluster; empty while nobody answers there."""
        said = self.vmha(node, "status", "--json", code=None)
        return json.loads(said) if said.startswith("{") else {}

    def container(self, service: str) -> str:
        if service not in self.known:
            self.known[service] = self.compose("ps", "-q", service).strip()
        return self.known[service]

    def guests_of(self, service: str) -> list[int]:
        return self.processes_of(service, "/usr/bin/qemu-system-")

    def processes_of(self, service: str, words: str) -> list[int]:
        """Those with ``words`` in their command line, by the pids of the machine, which sees them whatever becomes of
        the container.
        """
        container, found = self.container(service), []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if container in (folder / "cgroup").read_text():
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found += [int(folder.name)] if line.startswith(words) or f" {words} " in line else []
        return found

    def verdict(self, vm: str) -> dict[str, Any]:
        """Of the storage and the guest's own disk; the command fails if it ran twice."""
        found: dict[str, Any] = json.loads(self.inside("storage", "vmha-storage", "verdict", vm))
        return found
