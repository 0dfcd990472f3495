"""A lab with agents at the tuned profile, as the measures drive it.

Commands whose duration counts go to shells that stand ready inside the hosts: entering a host would cost more than most
of what is measured. The cluster is asked in this process for the same reason; only the verbs whose wall time is the
measure are run as an operator runs them.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bench.ticks import Ticks
from vmha.cli import lab_cluster
from vmha.lab import client
from vmha.lab.guests import add_witness
from vmha.lab.layout import CLUSTER, LIBVIRT_PORT, LabDir, LabSpec, find_node
from vmha.model.clock import SystemClock
from vmha.model.ids import NodeName, VmName
from vmha.model.keys import Keys
from vmha.model.records import Phase, SeenState
from vmha.operator.client import OperatorClient
from vmha.policy.state.snapshot import Snapshot
from vmha.store.etcd import EtcdStore

T = TypeVar("T")
HOSTS = ("h1", "h2", "h3")
VERB_TIMEOUT_S = 180.0
SETTLE_TIMEOUT_S = 90.0


def vmha_command() -> list[str]:
    """``vmha`` as this environment installs it."""
    script = Path(sys.executable).with_name("vmha")
    return [str(script)] if script.exists() else [sys.executable, "-m", "vmha"]


class Shell:
    """A shell inside one host that waits for commands."""

    def __init__(self, environment: dict[str, str], host: str) -> None:
        self._process = subprocess.Popen(
            [*vmha_command(), "lab", "exec", host, "--", "sh"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.run("true")

    def begin(self, script: str) -> None:
        """Hand a script over and go on; ``end`` waits for it. What it does may be seen before it has ended."""
        assert self._process.stdin
        self._script = script.splitlines()[0]
        self._process.stdin.write(f'{{ {script}\n}} 2>&1; echo; echo "-end- $?"\n')
        self._process.stdin.flush()

    def end(self) -> str:
        """What the script printed, when it has ended.

        Raises:
            RuntimeError: it failed, or the host went off.
        """
        assert self._process.stdout
        said: list[str] = []
        for line in self._process.stdout:
            if line.startswith("-end- "):
                if line.split()[1] != "0":
                    raise RuntimeError(f"{self._script}: {''.join(said).strip()}")
                return "".join(said).strip()
            said.append(line)
        raise RuntimeError(f"{self._script}: the shell ended")

    def run(self, script: str) -> str:
        """Run a script; returns its output when it has ended. Raises: RuntimeError, as ``end``."""
        self.begin(script)
        return self.end()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        if self.is_alive():
            assert self._process.stdin
            self._process.stdin.close()
        self._process.wait(timeout=10.0)


@dataclass(kw_only=True)
class Bench:
    """One running lab."""

    lab: LabDir
    environment: dict[str, str]
    _shells: dict[str, Shell] = field(default_factory=dict)
    _ticks: dict[str, Ticks] = field(default_factory=dict)

    def shell(self, host: str) -> Shell:
        found = self._shells.get(host)
        if found is None or not found.is_alive():
            found = self._shells[host] = Shell(self.environment, host)
        return found

    def ticks(self, vm: str) -> Ticks:
        if vm not in self._ticks:
            self._ticks[vm] = Ticks(self.lab.image(vm))
        return self._ticks[vm]

    def vmha(self, *arguments: str) -> None:
        """One verb as an operator runs it. Raises: CalledProcessError, with what it said on the exception."""
        done = subprocess.run(
            [*vmha_command(), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=VERB_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"vmha {' '.join(arguments)}: exit code {done.returncode}: {done.stdout}{done.stderr}")

    def ask(self, op: str, **arguments: Any) -> Any:
        return client.ask(self.lab, op, timeout_s=VERB_TIMEOUT_S, **arguments)

    def address(self, host: str) -> str:
        return find_node(LabSpec.from_json(self.lab.spec.read_text()), host).address

    def migrate_bare(self, vm: str, source: str, target: str) -> None:
        """``virsh migrate`` and nothing else."""
        address = self.address(target)
        self.shell(source).run(
            f"virsh -q migrate --live --p2p {vm} qemu+tcp://{address}:{LIBVIRT_PORT}/system tcp://{address}"
        )

    def make_witness(self, name: str, *hosts: str) -> str:
        """A witness guest that is no vm of the cluster; its definition lies ready on ``hosts``. Returns that file."""
        witness = add_witness(self.lab, name)
        path = f"/tmp/{name}.xml"
        for host in hosts:
            self.shell(host).run(f"cat > {path} <<'END'\n{witness.xml}\nEND")
        return path

    def add_vm(self, name: str, *, failover_domain: str | None = None) -> None:
        """A witness guest that the cluster runs."""
        lab_cluster.add_vm(self.lab, add_witness(self.lab, name), start=True, failover_domain=failover_domain)

    # --- the cluster

    def read(self) -> Snapshot:
        return self._with_client(lambda operator: operator.read())

    def await_snapshot(
        self, what: str, holds: Callable[[Snapshot], bool], *, timeout_s: float = SETTLE_TIMEOUT_S
    ) -> Snapshot:
        """The first snapshot for which it holds. Raises: TimeoutError."""

        async def work(operator: OperatorClient) -> Snapshot:
            try:
                async with asyncio.timeout(timeout_s), aclosing(operator.snapshots()) as snapshots:
                    async for snapshot in snapshots:
                        if holds(snapshot):
                            return snapshot
            except TimeoutError:
                pass
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")

        return self._with_client(work)

    def await_whole(self) -> None:
        """Every host may receive vms, and one leads."""
        if not lab_cluster.await_members(self.lab, HOSTS, timeout_s=SETTLE_TIMEOUT_S):
            raise TimeoutError("not all hosts are online")

    def await_settled(self, vm: str, *, on: str | None = None) -> str:
        """The vm is held and seen running (there). Returns where."""
        snapshot = self.await_snapshot(f"{vm} runs", lambda seen: holder(seen, vm) in ((on,) if on else HOSTS))
        self.ticks(vm).await_progress()
        found = holder(snapshot, vm)
        assert found
        return found

    def leader(self) -> str:
        snapshot = self.await_snapshot("somebody leads", lambda seen: seen.leader is not None)
        assert snapshot.leader
        return str(snapshot.leader.value.node)

    def _with_client(self, work: Callable[[OperatorClient], Awaitable[T]]) -> T:
        async def run() -> T:
            store = EtcdStore([f"unix:{self.lab.etcd}"])
            try:
                return await work(OperatorClient(store, Keys(CLUSTER), SystemClock(), author="bench"))
            finally:
                await store.close()

        return asyncio.run(run())

    def close(self) -> None:
        for ticks in self._ticks.values():
            ticks.close()
        for shell in self._shells.values():
            shell.close()


def holder(snapshot: Snapshot, name: str) -> NodeName | None:
    """The node that holds the vm and was seen running it in the session that holds it."""
    view = snapshot.vms.get(VmName(name))
    placement = view.placement.value if view and view.placement else None
    if view is None or placement is None or placement.phase is not Phase.HELD or placement.node is None:
        return None
    seen = view.seen.get(placement.node)
    is_there = seen is not None and seen.state is SeenState.RUNNING and seen.session == placement.session
    return placement.node if is_there else None


@contextmanager
def lab(*, fence: bool) -> Iterator[Bench]:
    """Three hosts at the tuned profile, with or without a fence program; taken down at the end, whatever happens."""
    # Short: a unix socket's path has 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="vmha-bench-", dir="/tmp"))
    environment = os.environ | {"VMHA_LAB": str(directory / "lab"), "NO_COLOR": "1"}
    bench = Bench(lab=LabDir(directory / "lab"), environment=environment)
    try:
        bench.vmha("lab", "up", "--profile", "tuned", "--fence" if fence else "--no-fence")
        bench.await_whole()
        yield bench
    finally:
        bench.close()
        subprocess.run([*vmha_command(), "lab", "down"], env=environment, stdout=subprocess.DEVNULL, check=False)
        shutil.rmtree(directory, ignore_errors=True)
