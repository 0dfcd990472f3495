"""How a guest last ended here, as libvirt wrote it into the guest's log: the one trace of a time without an agent.

libvirt keeps ``/var/log/libvirt/qemu/<name>.log`` for transient domains as well, and writes two kinds of lines of its
own there, in UTC::

    2026-03-01 10:00:00.123+0000: starting up libvirt version: 9.0.0, ...
    2026-03-01 10:05:00.456+0000: shutting down, reason=migrated

Everything else in it is QEMU's. The guest itself can not write there: its console goes elsewhere.
"""

import re
from datetime import datetime
from pathlib import Path

TAIL_BYTES = 1 << 16

_LINE = re.compile(
    rb"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\+0000): (?:starting up|shutting down, reason=([a-z]+))", re.MULTILINE
)


def read_last_ending(directory: Path, name: str) -> tuple[str, float] | None:
    """libvirt's word for the end of the last run of ``name`` and its wall time; None: it has not ended, or none knows.

    Blocking, and short.
    """
    if "/" in name:
        return None
    try:
        with (directory / f"{name}.log").open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            tail = file.read()
    except OSError:
        return None
    lines: list[tuple[bytes, bytes]] = _LINE.findall(tail)
    if not lines or not lines[-1][1]:
        return None
    at, how = lines[-1]
    return how.decode(), datetime.strptime(at.decode(), "%Y-%m-%d %H:%M:%S.%f%z").timestamp()
