"""How a guest last ended here, as libvirt wrote it into the guest's log: the one trace of a time without an agent.

Whose run it was that ended is not told by the date, which a clock that was set may have made anything: a line that
is not the one that stood there when the run was claimed is of that run.

libvirt keeps ``/var/log/libvirt/qemu/<name>.log`` for transient domains as well, and writes two kinds of lines of its
own there, in UTC::

    2026-03-01 10:00:00.123+0000: starting up libvirt version: 9.0.0, ...
    2026-03-01 10:05:00.456+0000: shutting down, reason=migrated

Everything else in it is QEMU's. The guest itself can not write there: its console goes elsewhere.

Logs are rotated: virtlogd renames them (``web.log.0``), logrotate copies them and cuts off what it has copied
(``web.log.1``, or with a date, or compressed; Debian's and Fedora's packages say ``copytruncate``). So what a log that
is read from its beginning does not say, the one before it does. What is written between the copy and the cut is lost.
"""

import asyncio
import errno
import gzip
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from vmha.hypervisor.port import HypervisorUnavailable

TAIL_BYTES = 1 << 16
MOST_PACKED_BYTES = 1 << 22
"""A compressed log has to be read as a whole; of a larger one nothing is."""
SHORT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Of descriptors or memory: it can be read in a moment, and until then nobody knows what it says."""

_LINE = re.compile(
    rb"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\+0000): (?:starting up|shutting down, reason=([a-z]+))", re.MULTILINE
)


def read_last_ending(directory: Path, name: str) -> tuple[str, str] | None:
    """libvirt's word for the end of the last run of ``name``, and the date as it stands in that line; None: it has not
    ended, or none knows.

    Blocking, and short.

    Raises:
        OSError: this host is short of what it takes to open it (``SHORT_OF``), or it is being rotated at this moment.
    """
    if "/" in name:
        return None
    for log in _newest_first(directory, name):
        lines, is_whole = _read(log)
        if lines:
            at, how = lines[-1]
            return (how.decode(), at.decode()) if how else None
        if not is_whole:
            return None  # QEMU had much to say, since a run began here that has not ended
    return None


def _newest_first(directory: Path, name: str) -> Iterator[Path]:
    """The log, and only if that is not enough those that it was rotated into."""
    log = directory / f"{name}.log"
    if log.exists():
        yield log
    rotated = re.compile(re.escape(log.name) + r"[.-]\d[\d.-]*(?:\.gz)?")
    try:
        with os.scandir(directory) as entries:
            found = {entry.name: entry.stat().st_mtime_ns for entry in entries if rotated.fullmatch(entry.name)}
    except OSError as error:
        if error.errno in SHORT_OF:
            raise
        return
    for former in sorted(found, key=found.__getitem__, reverse=True):
        if former.removesuffix(".gz") == former or former.removesuffix(".gz") not in found:  # else it is half made
            yield directory / former


def _read(log: Path) -> tuple[list[tuple[bytes, bytes]], bool]:
    """libvirt's lines at its end, and whether that was all of it."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if log.suffix == ".gz":
                file.seek(0)
                text = gzip.decompress(file.read()) if size <= MOST_PACKED_BYTES else b""
                return _LINE.findall(text[-TAIL_BYTES:]), size <= MOST_PACKED_BYTES and len(text) <= TAIL_BYTES
            file.seek(max(0, size - TAIL_BYTES))
            return _LINE.findall(file.read()), size <= TAIL_BYTES
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return [], False
    except OSError as error:
        if error.errno in SHORT_OF or error.errno == errno.ENOENT:  # it was there when it was looked for
            raise
        return [], False


async def recall_migration(directory: Path | None, name: str) -> str | None:
    """See ``Hypervisor.recall_migration``."""
    if directory is None:
        return None
    try:
        found = await asyncio.to_thread(read_last_ending, directory, name)
    except OSError as error:
        raise HypervisorUnavailable(f"libvirt's log of {name} can not be read now: {error.strerror}") from error
    return found[1] if found is not None and found[0] == "migrated" else None
