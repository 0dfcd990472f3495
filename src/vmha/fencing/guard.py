"""The guard: ends this node's managed guests when the agent's beats stop committing. ``python -m vmha.fencing.guard``.

A process of its own, because what it guards against takes the agent with it: a blocked event loop, a hung libvirtd, an
etcd that does not answer, a crash. It needs none of them, and nothing outside Python's standard library: it learns the
deadline over a unix socket (``guard_protocol``), keeps it over its own death (``guard_state``), finds the QEMUs by
itself (``qemu_processes``), and holds the machine's watchdog as the proof for the case that it can not act itself.

What it does not prove: that a host whose whole clock stands still (a paused virtual host) is empty. Only a power switch
or a watchdog outside that host can.
"""

import argparse
import fcntl
import os
import signal
import socket
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmha.fencing.deadline import EXPIRED, State
from vmha.fencing.guard_keeper import Keeper
from vmha.fencing.guard_log import Form, Log, cause_of_loss, form_of, logger
from vmha.fencing.guard_protocol import SOCKET_NAME
from vmha.fencing.guard_server import GuardServer
from vmha.fencing.guard_setup import OK, check_run_dir, harden, self_test
from vmha.fencing.guard_state import read_boot_id
from vmha.fencing.killing import Killing
from vmha.fencing.names import GUARD_STATE
from vmha.fencing.qemu_processes import LIBVIRT_RUN_DIR, QemuProcesses
from vmha.fencing.watchdog import Watchdog

CONFIG = "/etc/vmha/vmha.toml"
CLUSTER = "vmha"  # as the agent's, which reads the same file (node/settings.py)
RUN_DIR = "/run/vmha"
EXIT_CONFIG = 2
EXIT_BUSY = 3
# A guard that was just killed gives its lock back when the kernel is done with it.
LOCK_WAIT_S = 2.0


class ConfigError(ValueError):
    """The settings do not make a guard. The message names file, key and what would do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    cluster: str
    node: str
    run_dir: Path = Path(RUN_DIR)
    watchdog: str = "/dev/watchdog"
    libvirt_run_dir: str = LIBVIRT_RUN_DIR
    log_form: Form = Form.JSON


def read_settings(arguments: list[str]) -> Settings:
    """Settings from the configuration file, overridden by the command line. Keys of others in the file are left alone.

    Raises:
        ConfigError: the file can not be read, or a value is of another kind.
    """
    parser = argparse.ArgumentParser(prog="vmha-guard", description="Ends this node's managed guests at the deadline.")
    parser.add_argument("--config", default=CONFIG, help="TOML file (default: %(default)s)")
    parser.add_argument("--cluster", help=f"name of the cluster whose guests are managed (default: {CLUSTER})")
    parser.add_argument("--node", help="name of this node (default: the host's name)")
    parser.add_argument("--run-dir", help=f"where socket and state are, on tmpfs (default: {RUN_DIR})")
    parser.add_argument("--watchdog", help="watchdog device; empty: none")
    parser.add_argument("--libvirt-run-dir", help=f"libvirt's status files (default: {LIBVIRT_RUN_DIR})")
    flags = parser.parse_args(arguments)
    document = _read_toml(flags.config)

    def setting(key: str, default: str) -> str:
        value = getattr(flags, key)
        if value is None:
            value = document.get(key, default)
        if not isinstance(value, str):
            raise ConfigError(f"{flags.config}: {key} is {value!r}, not a text")
        if not value and key != "watchdog":  # empty there means: none
            raise ConfigError(f"{flags.config}: {key} is empty")
        return value

    return Settings(
        cluster=setting("cluster", CLUSTER),
        node=setting("node", socket.gethostname().split(".")[0]),
        run_dir=Path(setting("run_dir", RUN_DIR)),
        watchdog=setting("watchdog", "/dev/watchdog"),
        libvirt_run_dir=setting("libvirt_run_dir", LIBVIRT_RUN_DIR),
        log_form=form_of(document.get("log_format")),
    )


def _read_toml(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8-sig") as file:  # as the agent reads it
            return tomllib.loads(file.read())
    except FileNotFoundError:
        if path == CONFIG:
            return {}  # flags may say it all
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _lock(run_dir: Path) -> int | None:
    """The right to be this node's guard; None when another one has it."""
    fd = os.open(run_dir / "guard.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give_up_at = _now() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if _now() >= give_up_at:
                os.close(fd)
                return None
            time.sleep(0.02)


def level_of(status: dict[str, Any], checks: dict[str, str]) -> str:
    """What this guard promises now: "none", "guard" or "watchdog"."""
    if status["state"] == State.IDLE or any(outcome != OK for outcome in checks.values()):
        return "none"
    return "watchdog" if status["watchdog"]["armed"] else "guard"


def run(settings: Settings, log: Log) -> int:
    """Be the guard until told to stop. Returns the exit code."""
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    lock = _lock(settings.run_dir)
    if lock is None:
        log("another guard runs", level="error", run_dir=str(settings.run_dir))
        return EXIT_BUSY
    processes = QemuProcesses(settings.cluster, settings.libvirt_run_dir)
    killing = Killing(processes)
    # First what may be overdue: a predecessor's deadline and its watchdog. Only then hardening and self-test.
    keeper = Keeper(
        state_path=settings.run_dir / GUARD_STATE,
        boot_id=read_boot_id(),
        processes=processes,
        killer=killing,
        watchdog=Watchdog(settings.watchdog),
        wall=lambda: time.clock_gettime(time.CLOCK_REALTIME),
        now=_now(),
    )
    checks = self_test(processes.run_dir)
    hardening = harden()
    keeper.tick(_now())

    def describe(status: dict[str, Any]) -> dict[str, Any]:
        checks["libvirt_run_dir"] = check_run_dir(processes.run_dir)
        return {
            "level": level_of(status, checks),
            "self_test": dict(checks),
            "hardening": hardening,
            "cluster": settings.cluster,
            "node": settings.node,
            "pid": os.getpid(),
        }

    server = GuardServer(
        settings.run_dir / SOCKET_NAME, keeper, killing, describe=describe, now=_now, log=log, node=settings.node
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    # A signal that arrives between two turns must end the poll that follows it.
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    server.wake_on(wake_read)
    session = str(keeper.status(_now())["session"])
    log(
        "guarding",
        node=settings.node,
        cluster=settings.cluster,
        state=keeper.state.value,
        session=session,
        cause=cause_of_loss(settings.node, session) if keeper.state in EXPIRED else None,
    )
    server.serve()
    log("ended", state=keeper.state.value)
    return 0


def main() -> int:
    try:
        settings = read_settings(sys.argv[1:])
    except ConfigError as error:
        print(f"vmha-guard: {error}", file=sys.stderr)
        return EXIT_CONFIG
    log = logger(sys.stderr.fileno(), settings.log_form)
    try:
        return run(settings, log)
    except OSError as error:
        log("can not start", level="error", error=str(error))
        return EXIT_CONFIG


if __name__ == "__main__":
    sys.exit(main())
