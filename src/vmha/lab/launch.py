"""``vmha lab up``: from nothing to a running lab, or one clear line why not.

Checks what can be checked without side effects, takes the lab's lock, hands it to the supervisor and follows the
progress until pid 1 of the lab says that everything answers. A start that fails or is interrupted leaves nothing.
"""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vmha
from vmha.lab import requirements, teardown
from vmha.lab.boxplan import python_command
from vmha.lab.freezer import sweep_cgroups
from vmha.lab.layout import MAX_HOSTS, LabDir, LabSpec, Tier
from vmha.model.errors import Rejected, Retryable

_LONGEST_PATH = 90  # a unix socket's path has 107 bytes
_ETCD_SIZES = (1, 3)


class AlreadyRunning(Rejected):
    """A lab runs in this directory; nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One part of the lab is up, ``seconds`` after the start."""

    step: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabUp:
    """The lab is up. ``watchdog``: whether the hosts got a /dev/watchdog."""

    tier: Tier
    watchdog: bool


def default_dir() -> Path:
    """$VMHA_LAB, else the place where a lab of this user belongs."""
    if named := os.environ.get("VMHA_LAB"):
        return Path(named).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/vmha-lab")
    state = os.environ.get("XDG_STATE_HOME") or f"{Path.home()}/.local/state"
    return Path(state) / "vmha/lab"


def make_spec(path: Path, *, hosts: int, etcd: int, profile: str, agents: bool) -> LabSpec:
    """Raises: Rejected when no lab can look like that."""
    path = path.resolve()
    if not 1 <= hosts <= MAX_HOSTS:
        raise Rejected(f"a lab of {hosts} hosts", accepted=f"1 to {MAX_HOSTS}")
    if etcd not in _ETCD_SIZES:
        raise Rejected(f"a lab of {etcd} etcd members", accepted="1 or 3")
    if len(str(path)) > _LONGEST_PATH:
        raise Rejected(f"the path {path} is too long for unix sockets", accepted=f"at most {_LONGEST_PATH} characters")
    python_path = _python_path()
    return LabSpec(
        dir=str(path),
        hosts=hosts,
        etcd=etcd,
        tier=Tier.ROOT if os.geteuid() == 0 else Tier.USER,
        python=sys.executable,
        python_path=python_path,
        visible=tuple(_outermost({*python_path, *_interpreter_paths()})),
        profile=profile,
        agents=agents,
    )


def up(spec: LabSpec, on_step: Callable[[Step], None] = lambda _: None) -> LabUp:
    """Build the lab.

    Raises:
        AlreadyRunning: one runs in this directory.
        Rejected: this machine can not carry a lab; the message says what to do.
        Retryable: it did not come up; everything was taken down again.
    """
    requirements.require_packages()
    lab = LabDir(Path(spec.dir))
    lock_fd = _take_directory(lab)
    try:
        sweep_cgroups(spec.cgroup_name)
        for path in (lab.storage, lab.new_root):
            path.mkdir(exist_ok=True)
        lab.spec.write_text(spec.to_json())
        messages = _start_supervisor(spec, lab, lock_fd)
    finally:
        os.close(lock_fd)
    try:
        return _follow(messages, on_step, lab)
    except BaseException:
        teardown.down(lab)
        raise


def _take_directory(lab: LabDir) -> int:
    """Make the directory ours and lock it. Returns the descriptor that holds the lock."""
    try:
        lab.path.mkdir(parents=True, exist_ok=True)
        if not lab.marker.exists() and any(lab.path.iterdir()):
            raise Rejected(f"{lab.path} is not empty and was not made by a lab: name another directory with --dir")
        lock_fd = os.open(lab.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Rejected(f"can not use {lab.path}: {error.strerror}; name another directory with --dir") from error
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock_fd)
        raise AlreadyRunning(f"a lab already runs in {lab.path}: see `vmha lab status`") from None
    lab.marker.touch()
    return lock_fd


def _start_supervisor(spec: LabSpec, lab: LabDir, lock_fd: int) -> Iterator[dict[str, Any]]:
    progress_read, progress_write = os.pipe()
    with lab.log.open("ab") as log:
        subprocess.Popen(
            python_command(spec, "vmha.lab.supervisor", spec.dir, str(lock_fd), str(progress_write)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock_fd, progress_write),
            start_new_session=True,
            cwd="/",
            env={"PATH": requirements.search_path(), "LANG": "C.UTF-8"},
        )
    os.close(progress_write)

    def read() -> Iterator[dict[str, Any]]:
        with os.fdopen(progress_read) as progress:
            for line in progress:
                yield json.loads(line)

    return read()


def _follow(messages: Iterator[dict[str, Any]], on_step: Callable[[Step], None], lab: LabDir) -> LabUp:
    for message in messages:
        match message:
            case {"step": step, "seconds": seconds}:
                on_step(Step(step=step, seconds=seconds))
            case {"forbidden": reason}:
                raise Rejected(requirements.NO_NAMESPACES.format(reason=reason))
            case {"error": reason}:
                raise Retryable(f"the lab did not come up: {reason}")
            case {"done": True, "tier": tier, "watchdog": watchdog}:
                return LabUp(tier=Tier(tier), watchdog=watchdog)
    words = lab.log.read_text(errors="replace").strip().splitlines() if lab.log.exists() else []
    raise Retryable(f"the lab did not come up: {words[-1] if words else 'its first process ended without a word'}")


def _python_path() -> tuple[str, ...]:
    """The package's own directory, then what the caller's PYTHONPATH names."""
    source = str(Path(vmha.__file__).resolve().parent.parent)
    named = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(":") if path]
    return tuple(dict.fromkeys([source, *(path for path in named if os.path.isdir(path))]))


def _interpreter_paths() -> set[str]:
    """Where this interpreter and its packages live."""
    paths = {sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    paths |= {path for path in sys.path if path.endswith("-packages") and os.path.isdir(path)}
    return {os.path.abspath(path) for path in paths}


def _outermost(paths: set[str]) -> list[str]:
    """Without those that lie below another one."""
    return sorted(path for path in paths if not any(path.startswith(f"{other}/") for other in paths - {path}))
