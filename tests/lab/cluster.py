"""A lab with agents, driven by the command line as its operator would; the witness guests' disks judge."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.conftest import LabRun, make_directory, wait_until
from tests.support import command_line

VMHA = (sys.executable, "-m", "vmha")
TIMEOUT_S = 120.0


@dataclass(kw_only=True)
class Cluster:
    lab: LabRun

    def file(self, name: str, text: str = "") -> Path:
        """A file beside the lab's directory, which is the lab's own."""
        path = self.lab.path.parent / name
        path.write_text(text)
        return path

    def vmha(self, *arguments: str, code: int | None = 0) -> str:
        """One verb of the product, from outside the hosts; returns what it printed on both streams."""
        environment = self.lab.environment | {"VMHA_LAB": str(self.lab.path), "NO_COLOR": "1"}
        ended, out, err = command_line.call(command_line.VMHA, arguments, environment=environment, timeout_s=TIMEOUT_S)
        assert code is None or ended == code, f"{arguments}: exit code {ended}\n{out}{err}"
        return out + err

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.vmha("status", "--json"))
        return found

    def vm(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(vm for vm in self.status()["vms"] if vm["name"] == name)
        return found

    def leader(self) -> str | None:
        leader = self.status()["leader"]
        return leader["node"] if leader else None

    def conditions(self) -> dict[str, str]:
        return {node["name"]: node["condition"] for node in self.status()["nodes"]}

    def await_running(self, vm: str, *, on: str | None = None, not_on: str = "", timeout_s: float = 60.0) -> str:
        """Wait until the vm runs (there); returns where."""

        def look() -> str | None:
            now = self.vm(vm)
            if now["state"] != "running" or (on and now["node"] != on) or now["node"] == not_on:
                return None
            return str(now["node"])

        where: str = wait_until(f"{vm} runs on {on or f'a node but {not_on}'}", look, timeout_s)
        return where

    def await_ticks(self, vm: str, more: int = 5) -> None:
        """The guest itself makes progress: its disk says so."""
        before = self.lab.verdict(vm)["ticks"]
        wait_until(f"{vm} ticks", lambda: self.lab.verdict(vm)["ticks"] >= before + more)

    def await_all_online(self) -> None:
        wait_until("every node is online", lambda: set(self.conditions().values()) == {"online"}, 60.0)

    def add(self, vm: str, *arguments: str) -> str:
        self.lab.run("vm", "add", vm, *arguments)
        return self.await_running(vm)

    def remove(self, vm: str) -> None:
        self.lab.run("vm", "remove", vm)

    def journal(self, vm: str | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.vmha("events", "--json", *(("--vm", vm) if vm else ())))
        return found

    def qemu_pids(self, host: str) -> list[str]:
        return self.lab.sh(host, "pidof qemu-system-x86_64", code=None).split()


def processes_of(cluster: Cluster, host: str, is_wanted: Callable[[str], bool]) -> list[int]:
    """As this machine counts them: those of the host whose command line is wanted."""
    namespace = cluster.lab.sh(host, "readlink /proc/self/ns/pid")
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # it ended while we looked
            if entry.name.isdecimal() and os.readlink(entry / "ns/pid") == namespace:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found += [int(entry.name)] if is_wanted(command) else []
    return found


def running_cluster(*arguments: str) -> Iterator[Cluster]:
    directory = make_directory()
    lab = LabRun(path=directory / "lab")
    try:
        said = lab.run("up", "--profile", "tuned", *arguments)
        assert "agents are online" in said, said
        cluster = Cluster(lab=lab)
        cluster.vmha("domain", "add", "pref", "--member", "h1:1", "--member", "h2:2", "--member", "h3:3", "--ordered")
        yield cluster
    finally:
        lab.run("down", code=None)
        shutil.rmtree(directory)
