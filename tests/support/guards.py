"""A node for tests of the real guard: processes that look like QEMUs, libvirt's files about them, and the guard."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

from tests.support.until import until
from vmha.fencing.guard_client import GuardClient
from vmha.fencing.port import GuardStatus, GuardUnavailable, State
from vmha.model.clock import SystemClock
from vmha.model.ids import SessionId

S1, S2 = SessionId("session-1"), SessionId("session-2")
CLOCK = SystemClock()
ANSWER_S = 5.0  # the machine the tests run on may be busy
TAG = '<vmha:vm xmlns:vmha="https://vmha.dev/xmlns/domain/1" cluster="{cluster}" vm="{name}" epoch="1"/>'


class Guest:
    """A process that looks like a guest's QEMU. It ends when its standard input does, so it never outlives the test."""

    def __init__(self, name: str, uuid: str) -> None:
        self.name, self.uuid = name, uuid
        words = ["qemu-system-x86_64", "-c", "read nothing", "-uuid", uuid, "-name", f"guest={name},debug-threads=on"]
        self.process = subprocess.Popen(words, executable="/bin/sh", stdin=subprocess.PIPE)

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    @property
    def was_killed(self) -> bool:
        return self.process.poll() == -signal.SIGKILL

    def end(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)
        assert self.process.stdin is not None
        self.process.stdin.close()


class Node:
    """One host's run directories, guests and guard."""

    def __init__(self, root: Path) -> None:
        self.run_dir, self.libvirt_run_dir = root / "vmha", root / "qemu"
        self.libvirt_run_dir.mkdir()
        self.watchdog = ""
        self.guests: list[Guest] = []
        self.guards: list[subprocess.Popen[bytes]] = []
        self.client = GuardClient(self.run_dir / "guard.sock")
        self.log = root / "guard.log"

    def guest(self, name: str, *, cluster: str | None = "c1", status_file: bool = True) -> Guest:
        guest = Guest(name, str(UUID(int=len(self.guests) + 1)))
        self.guests.append(guest)
        if status_file:
            tag = TAG.format(cluster=cluster, name=name) if cluster else ""
            (self.libvirt_run_dir / f"{name}.pid").write_text(f"{guest.process.pid}\n")
            (self.libvirt_run_dir / f"{name}.xml").write_text(
                f"<domstatus state='running' pid='{guest.process.pid}'><domain type='qemu'><name>{name}</name>"
                f"<uuid>{guest.uuid}</uuid><metadata>{tag}</metadata></domain></domstatus>"
            )
        return guest

    def start_process(self, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "vmha.fencing.guard", "--config", "/dev/null", "--cluster", "c1"]
        command += ["--node", "n1", "--run-dir", str(self.run_dir), "--watchdog", self.watchdog]
        with self.log.open("ab") as log:
            command += ["--libvirt-run-dir", str(self.libvirt_run_dir)]
            guard = subprocess.Popen(command, stderr=log, env={**os.environ, **environment})
        self.guards.append(guard)
        return guard

    async def start_guard(self, **environment: str) -> subprocess.Popen[bytes]:
        guard = self.start_process(**environment)
        await self.answers(guard)
        return guard

    async def answers(self, guard: subprocess.Popen[bytes]) -> None:
        async def does_answer() -> bool:
            assert guard.poll() is None, self.log.read_text()
            try:
                await self.status()
            except GuardUnavailable:
                return False
            return True

        await until(does_answer, what="the guard answers")

    async def arm(self, session: SessionId = S1, **more: float) -> GuardStatus:
        settings = {"hold_s": 60.0, "kill_lead_s": 1.0, "sent_at": CLOCK.now(), **more}
        return await self.client.arm(session, timeout_s=ANSWER_S, **settings)  # type: ignore[arg-type]

    async def beat(self, session: SessionId = S1) -> GuardStatus:
        return await self.client.beat(session, sent_at=CLOCK.now(), timeout_s=ANSWER_S)

    async def status(self) -> GuardStatus:
        return await self.client.status(timeout_s=ANSWER_S)

    async def reaches(self, state: State) -> GuardStatus:
        async def is_there() -> bool:
            return (await self.status()).state is state

        await until(is_there, what=f"the guard is {state}")
        return await self.status()

    def close(self) -> None:
        for guard in self.guards:
            guard.kill()
            guard.wait(timeout=10)
        for guest in self.guests:
            guest.end()
