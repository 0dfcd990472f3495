"""Chaos on real hosts: rounds that must be good, a sabotage that must be seen, and an interrupt that leaves nothing."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from tests.lab.cluster import VMHA, Cluster, running_cluster
from tests.lab.conftest import make_directory, wait_until
from vmha.lab.chaos.judge import Kind
from vmha.lab.chaos.rounds import Run, play
from vmha.lab.chaos.schedule import Fault, Role, Round, Shape, Strike, Target
from vmha.lab.layout import LabDir
from vmha.model.clock import SystemClock
from vmha.model.settings import PROFILES, Profile

pytestmark = pytest.mark.lab

SLACK = 4.0
"""Of the time to come back, for a slow machine. Never two knows no slack."""
TIMEOUT_S = 600.0


@pytest.fixture
def directory() -> Iterator[Path]:
    made = make_directory()
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize(
    ("seed", "rounds"),
    [pytest.param(12, 8, id="without a power switch"), pytest.param(15, 7, id="with a power switch")],
)
def test_rounds_of_chaos_see_never_two_and_everything_back(directory: Path, seed: int, rounds: int) -> None:
    """A failure names its evidence and the command that plays the round alone."""
    arguments = ["--seed", str(seed), "--rounds", str(rounds), "--slack", str(SLACK), "--json"]
    done = subprocess.run(
        [*VMHA, "lab", "chaos", *arguments, "--results", str(directory / "results.jsonl")],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["totals"]["rounds"], found["totals"]["bad"]) == (rounds, 0)
    assert found["totals"]["boots"] > 0, "no fault ended a guest: that was no chaos"
    undone = sum(len(result["undone"]) for result in found["rounds"])
    assert undone < sum(len(result["faults"]) for result in found["rounds"]) / 2, "most faults were not done"
    assert len((directory / "results.jsonl").read_text().splitlines()) == rounds


# -- what a bad round looks like

SHAPE = Shape.of(hosts=3, etcd=1, vms=1, timing=PROFILES[Profile.TUNED])


class Quiet(Run):
    """Rounds in which next to nothing is done."""

    def draw(self, number: int) -> Round:
        nothing = Strike(at_s=0.0, fault=Fault.MIGRATE, target=Target(role=Role.VM, name="v1"), to="h1")
        return Round(seed=0, number=number, strikes=(nothing,))


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    yield from running_cluster()


def start_a_copy_past_the_gate(cluster: Cluster) -> None:
    """What the gate is there to refuse: a second instance of v1, on the host that does not hold it."""
    holder = cluster.vm("v1")["node"]
    other = "h2" if holder == "h1" else "h1"
    xml = cluster.lab.sh(holder, "virsh dumpxml v1")
    cluster.lab.sh(other, "chmod -x /etc/libvirt/hooks/qemu; kill -9 $(cat /run/vmha-lab/libvirtd.pid)")
    wait_until("libvirtd is back", lambda: "v1" not in cluster.lab.sh(other, "virsh list --name || echo v1", code=None))
    cluster.lab.sh(other, f"cat > /tmp/copy.xml <<'XML'\n{xml}\nXML\nvirsh create /tmp/copy.xml")
    wait_until("both have written", lambda: cluster.lab.verdict("v1")["double_writers"] > 0)


async def test_second_copy_that_got_past_the_gate_is_convicted_and_leaves_evidence(
    cluster: Cluster, directory: Path
) -> None:
    run = Quiet(seed=0, first_round=1, rounds=2, shape=SHAPE, profile="tuned", slack=SLACK)
    lab = LabDir(cluster.lab.path)
    async with aclosing(play(run, lab, SystemClock(), evidence=lambda played: directory / str(played.number))) as game:
        first, where = await anext(game)
        assert first.is_good, first.violations
        assert where is None
        await asyncio.to_thread(start_a_copy_past_the_gate, cluster)
        second, where = await anext(game)
    assert Kind.RAN_TWICE in [violation.kind for violation in second.violations]
    assert where == directory / "2"
    kept = {str(path.relative_to(where)) for path in where.rglob("*") if path.is_file()}
    assert {"outcome.json", "journal.jsonl", "keys.json", "events.jsonl", "v1.img", "h1/now.txt"} <= kept
    assert {"h1/vmha/agent.log", "h2/vmha/guard.log", "h3/vmha/libvirtd.log", "etcd-1/vmha/etcd.log"} <= kept
    assert "double-writer" in (where / "events.jsonl").read_text()


def test_interrupted_chaos_takes_its_lab_down(directory: Path) -> None:
    lab = LabDir(directory / "lab")
    chaos = subprocess.Popen(
        [*VMHA, "lab", "chaos", "--rounds", "50", "--dir", str(lab.path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert chaos.stdout is not None
        assert "3 hosts" in chaos.stdout.readline()
        members = [pid for pid, _ in json.loads(lab.pids.read_text()).values()]
        chaos.send_signal(signal.SIGINT)
        assert chaos.wait(TIMEOUT_S) == 130
    finally:
        chaos.kill()
        chaos.wait()
    assert not lab.path.exists()
    wait_until("the lab's processes are gone", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in members))
