"""A program run to its end, and what it took: processor time, which a busy machine changes little, and peak memory.

The kernel lets a program begin with the peak of whoever has begun it: so a small one begins it, and asks.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

_BEGIN = """
import os, sys
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(child, 0)
with open(sys.argv[1], "w") as told:
    told.write(f"{used.ru_utime + used.ru_stime} {used.ru_maxrss / 1024} {os.waitstatus_to_exitcode(status)}")
"""


@dataclass(frozen=True, slots=True)
class Ran:
    cpu_s: float
    peak_mib: float
    said: str


def ran(command: Sequence[str]) -> Ran:
    """Raises: CalledProcessError."""
    with tempfile.NamedTemporaryFile("r") as told:
        begin = [sys.executable, "-I", "-S", "-c", _BEGIN, told.name]
        done = subprocess.run([*begin, *command], stdout=subprocess.PIPE, text=True, check=True)
        cpu_s, peak_mib, code = told.read().split()
    if int(code):
        raise subprocess.CalledProcessError(int(code), command, done.stdout)
    return Ran(float(cpu_s), float(peak_mib), done.stdout)
