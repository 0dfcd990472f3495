"""Real etcd members as children of the test process, on free loopback ports, gone with it.

``RealEtcd`` starts one member or three, with heartbeats and elections five times faster than etcd's defaults, so that
faults play out in a second. Members are frozen, thawed, killed and started again one by one, by index.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.certificates import Authority

ETCD = shutil.which("etcd") or "/usr/bin/etcd"
ETCDCTL = shutil.which("etcdctl") or "/usr/bin/etcdctl"
START_TIMEOUT_S = 60.0
_POLL_S = 0.02
LOWEST_PORT = 18000


class RealEtcdError(RuntimeError):
    """A test etcd did not do as told."""


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on, and that the kernel gives nobody by itself.

    Whoever connects somewhere meanwhile has one of the kernel's choice: so is no port that a member comes back to.
    """
    kernels = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports: set[int] = set()
    while len(ports) < count:
        port = LOWEST_PORT + int.from_bytes(os.urandom(4)) % (kernels - LOWEST_PORT)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.add(port)
    return sorted(ports)


def _is_stopped(pid: int) -> bool:
    """Whether every thread of the process is in state T. The signal takes effect a moment after it was sent."""
    states = [
        (thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in Path(f"/proc/{pid}/task").iterdir()
    ]
    return set(states) == {"T"}


class RealEtcd:
    """A cluster of one or three members. Use as a context manager, or ``start`` and ``stop``."""

    def __init__(
        self, members: int = 1, *, tls: Authority | None = None, options: dict[str, str] | None = None
    ) -> None:
        """Nothing runs yet.

        Args:
            members: One or three.
            tls: Clients must then show a certificate of this authority. ``leader`` and ``compact`` are for plain ones.
            options: More of etcd's own, without the dashes.
        """
        self._tls = tls
        self._options = options or {}
        self._folder = Path(tempfile.mkdtemp(prefix="vmha-etcd-"))
        ports = free_ports(3 * members)
        self._client_ports, self._peer_ports = ports[:members], ports[members : 2 * members]
        self._health_ports = ports[2 * members :]  # plain HTTP also where clients need a certificate
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * members

    @property
    def endpoints(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self._client_ports]

    def start(self) -> None:
        """Starts every member that does not run, and waits until the cluster answers linearizable reads."""
        for index in range(len(self._processes)):
            self.launch(index)
        for index in range(len(self._processes)):
            self.wait_healthy(index)

    def launch(self, index: int) -> None:
        """Starts one member, new or with the data it had, and does not wait for it."""
        if self._processes[index] is not None:
            return
        cluster = self._initial_cluster()
        client = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._client_ports[index]}"
        peer = f"http://127.0.0.1:{self._peer_ports[index]}"
        options = {
            "name": f"m{index}",
            "data-dir": str(self._folder / f"m{index}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": cluster,
            "heartbeat-interval": "20",
            "election-timeout": "200",
            "listen-metrics-urls": f"http://127.0.0.1:{self._health_ports[index]}",
            "logger": "zap",
            **self._options,
        }
        if self._tls:
            cert, key = self._tls.issue("server", usage="serverAuth")
            options |= {"cert-file": str(cert), "key-file": str(key), "trusted-ca-file": str(self._tls.ca)}
            options["client-cert-auth"] = "true"
        # setpriv rather than a preexec_fn: gRPC's threads run in this process, and forking Python code under them is
        # what hangs test suites.
        command = ["setpriv", "--pdeathsig", "KILL", "--", ETCD]
        command += [f"--{name}={value}" for name, value in options.items()]
        with (self._folder / f"m{index}.log").open("ab") as log:
            self._processes[index] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def log_of(self, index: int) -> str:
        """What the member has said since it was first started."""
        return (self._folder / f"m{index}.log").read_text(errors="replace")

    def wait_healthy(self, index: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S  # noqa: TID251
        while not self._is_healthy(index):
            process = self._processes[index]
            if process is None or process.poll() is not None or time.monotonic() > deadline:  # noqa: TID251
                raise RealEtcdError(f"etcd member {index} does not get healthy:\n{self.log_of(index)[-2000:]}")
            time.sleep(_POLL_S)

    def leader(self) -> int:
        """The index of the member that leads."""
        deadline = time.monotonic() + START_TIMEOUT_S  # noqa: TID251
        while time.monotonic() < deadline:  # noqa: TID251
            for index, process in enumerate(self._processes):
                status = self._ask(index, "/v3/maintenance/status") if process else None
                if status and status.get("leader", "0") == status["header"]["member_id"]:
                    return index
            time.sleep(_POLL_S)
        raise RealEtcdError("no member leads")

    def freeze(self, index: int) -> None:
        """SIGSTOP, and waits until every thread has stopped: connections stay open and are silent."""
        process = self._process(index)
        process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + START_TIMEOUT_S  # noqa: TID251
        while not _is_stopped(process.pid):
            if time.monotonic() > deadline:  # noqa: TID251
                raise RealEtcdError(f"member {index} does not stop")
            time.sleep(_POLL_S / 10)

    def thaw(self, index: int) -> None:
        self._process(index).send_signal(signal.SIGCONT)

    def kill(self, index: int) -> None:
        """SIGKILL; ``launch`` starts it again with its data."""
        process = self._process(index)
        process.kill()
        process.wait()
        self._processes[index] = None

    def pid(self, index: int) -> int:
        return self._process(index).pid

    def counts(self, index: int) -> dict[str, float]:
        """What the member says of itself to Prometheus, by name; nothing of what it tells apart by labels."""
        answer = _fetch(self._health_ports[index], "GET", "/metrics") or b""
        lines = (line.split() for line in answer.decode().splitlines() if not line.startswith("#") and "{" not in line)
        return {name: float(value) for name, value in lines}

    def compact(self, revision: int) -> None:
        """Forgets the history before ``revision``."""
        for index, process in enumerate(self._processes):
            if process and self._ask(index, "/v3/kv/compaction", {"revision": str(revision)}) is not None:
                return
        raise RealEtcdError("no member compacts")

    def revoke_all_leases(self) -> int:
        """What a leader that was paused for too long does to leases that are being kept alive. Returns how many."""
        for index, process in enumerate(self._processes):
            found = self._ask(index, "/v3/lease/leases") if process else None
            if found is not None:
                leases = [lease["ID"] for lease in found.get("leases", ())]
                return sum(self._ask(index, "/v3/lease/revoke", {"ID": lease}) is not None for lease in leases)
        raise RealEtcdError("no member names its leases")

    def ctl(self, *arguments: str, user: str = "", timeout_s: float = 30.0) -> str:
        """``etcdctl`` with all endpoints; returns what it printed."""
        command = [ETCDCTL, f"--endpoints={','.join(self.endpoints)}", *arguments]
        command += [f"--user={user}"] if user else []
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False, env={"ETCDCTL_API": "3"}
        )
        if done.returncode:
            raise RealEtcdError(f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def back_up(self) -> Path:
        """A snapshot, as an administrator takes it."""
        path = self._folder / "backup.db"
        path.unlink(missing_ok=True)
        command = [ETCDCTL, f"--endpoints={self.endpoints[0]}", "snapshot", "save", str(path)]
        subprocess.run(command, capture_output=True, timeout=30, check=True, env={"ETCDCTL_API": "3"})
        return path

    def restore(self, backup: Path, *, token: str = "") -> None:
        """Every member is killed and begins anew with the snapshot; returns without waiting for them.

        They are away for no longer than that takes: what they begin with is laid out before. ``token``: for a cluster
        of another id than the one that was.
        """
        folders = [self._folder / f"m{index}" for index in range(len(self._processes))]
        for index, folder in enumerate(folders):
            new = folder.with_suffix(".new")
            command = [ETCDCTL, "snapshot", "restore", str(backup), f"--name=m{index}", f"--data-dir={new}"]
            command += [f"--initial-cluster={self._initial_cluster()}"]
            command += [f"--initial-advertise-peer-urls=http://127.0.0.1:{self._peer_ports[index]}"]
            command += [f"--initial-cluster-token={token}"] if token else []
            subprocess.run(command, capture_output=True, timeout=30, check=True, env={"ETCDCTL_API": "3"})
        for index, process in enumerate(self._processes):
            if process is not None:
                self.kill(index)
        for index, folder in enumerate(folders):
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_suffix(".new").rename(folder)
            self.launch(index)

    def _initial_cluster(self) -> str:
        return ",".join(f"m{at}=http://127.0.0.1:{port}" for at, port in enumerate(self._peer_ports))

    def watchers(self, index: int) -> int:
        """How many watches one member serves."""
        text = _fetch(self._health_ports[index], "GET", "/metrics") or b""
        for line in text.decode().splitlines():
            if line.startswith("etcd_debugging_mvcc_watcher_total "):
                return int(float(line.split()[1]))
        raise RealEtcdError("the member counts no watchers")

    def stop(self) -> None:
        """Ends every member and removes their files."""
        for index, process in enumerate(self._processes):
            if process is not None:
                self.kill(index)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _process(self, index: int) -> "subprocess.Popen[bytes]":
        process = self._processes[index]
        if process is None:
            raise RealEtcdError(f"member {index} does not run")
        return process

    def _is_healthy(self, index: int) -> bool:
        answer = _fetch(self._health_ports[index], "GET", "/health")
        return answer is not None and json.loads(answer).get("health") == "true"

    def _ask(self, index: int, path: str, body: dict[str, str] | None = None) -> Any:
        """Posts to the member's JSON gateway."""
        answer = _fetch(self._client_ports[index], "POST", path, json.dumps(body or {}).encode())
        return None if answer is None else json.loads(answer)


def _fetch(port: int, method: str, path: str, body: bytes | None = None) -> bytes | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return content if response.status == http.client.OK else None
