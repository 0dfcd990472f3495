"""The wall clock of one host of the lab, set by hours while its agent and its guard run.

All hosts share one kernel, and so one clock. These two programs are begun anew with a library that lies to them about
the time (tests/support/faketime.py).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import vmha
from tests.lab.cluster import Cluster
from tests.lab.conftest import wait_until
from tests.support.faketime import environment
from vmha.lab.layout import LabDir

SOURCE = Path(vmha.__file__).resolve()
_PATCHED, _SET = "/var/lib/vmha/begun_with_a_clock.py", "/run/wall-clock"
_BEGIN_ANEW = """
import os as _os, sys as _sys

if "LD_PRELOAD" not in _os.environ and " ".join(_sys.orig_argv[1:]).startswith({programs}):
    _os.execve(_sys.executable, _sys.orig_argv, {{**_os.environ, **{environment}}})
"""
_PROGRAMS = ("-m vmha.fencing.guard", "-m vmha agent")


@dataclass(frozen=True, kw_only=True)
class WallClock:
    cluster: Cluster
    host: str

    def set(self, by: str) -> None:
        """``+1h``, ``-1h``, or seconds: from what it would be."""
        self.cluster.lab.sh(self.host, f"echo {by} > {_SET}.new; mv {_SET}.new {_SET}")


@contextmanager
def wall_clock(cluster: Cluster, host: str) -> Iterator[WallClock]:
    """The host's guard takes the deadline up again, its agent the session; both once more in the end."""
    lab = cluster.lab
    begin = _BEGIN_ANEW.format(programs=_PROGRAMS, environment=environment(_SET))
    (LabDir(lab.path).node(host) / _PATCHED[1:]).write_text(SOURCE.read_text() + begin)
    clock = WallClock(cluster=cluster, host=host)
    clock.set("+0")
    lab.sh(host, f"mount --bind {_PATCHED} {SOURCE}")
    try:
        _begin_anew(cluster, host, preloaded=True)
        yield clock
    finally:
        lab.sh(host, f"umount -l {SOURCE}")
        _begin_anew(cluster, host, preloaded=False)


def _begin_anew(cluster: Cluster, host: str, *, preloaded: bool) -> None:
    """Killed; the host's init starts the next ones."""
    lab, wanted = cluster.lab, "1" if preloaded else "0"
    for program in _PROGRAMS:
        pattern = program.replace("-m v", "-m [v]")  # the shell that looks is none
        lab.sh(host, f"pkill -KILL -f -- '{pattern}'")
        look = f"pid=$(pgrep -o -f -- '{pattern}') && grep -c libfaketime /proc/$pid/maps | sed 's/[1-9].*/1/'"
        wait_until(
            f"another {program} runs on {host}",
            lambda look=look: lab.sh(host, look, code=None) == wanted,  # type: ignore[misc]
        )


def lead(cluster: Cluster, host: str) -> None:
    """Let its agent be the leader: another's office ends until it is."""

    def leads() -> bool:
        said = cluster.lab.sh(host, "etcdctl get --print-value-only /vmha/lab/leader")
        if said and json.loads(said)["node"] != host:
            cluster.lab.sh(host, "etcdctl del /vmha/lab/leader")
        return bool(said) and json.loads(said)["node"] == host

    wait_until(f"{host} leads", leads)
