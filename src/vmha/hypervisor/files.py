"""The few things that an agent does with files beside a vm: read its definition, look after its saved state.

The file system is as a rule another host's, and may not answer at all: every call has a deadline, and runs in a daemon
thread that nobody waits for at exit (see ``calls``). A definition is read only from a regular file of bounded size: a
fifo, a device, a directory or a log of gigabytes in its place is told, and holds nothing up.
"""

import contextlib
import os
import stat
from collections.abc import Callable
from typing import BinaryIO, Protocol, TypeVar

from vmha.hypervisor.calls import CallOverdue, Lane
from vmha.model.domain_xml import MAX_BYTES
from vmha.model.errors import Refused

T = TypeVar("T")

FILE_TIMEOUT_S = 10.0


class FileTrouble(Refused):
    """It could not be done; the words say with which file, and why."""


class HostFiles(Protocol):
    async def read_definition(self, path: str) -> str | None:
        """The text of a definition; None: there is no such file. Raises: FileTrouble."""

    async def head(self, path: str, size: int) -> bytes:
        """The first bytes; fewer when it has no more, none when it is not there. Raises: FileTrouble."""

    async def is_there(self, path: str) -> bool:
        """Whether this host sees it, file or device. Raises: FileTrouble."""

    async def rename(self, path: str, new: str) -> None:
        """Raises: FileTrouble, also when there is no such file: somebody else was faster."""

    async def remove(self, path: str) -> None:
        """One that is not there is no error. Raises: FileTrouble."""


class LocalFiles:
    """The host's own view of its file systems."""

    def __init__(self, *, timeout_s: float = FILE_TIMEOUT_S) -> None:
        self._lane = Lane("files")
        self._timeout_s = timeout_s

    async def read_definition(self, path: str) -> str | None:
        return await self._call(path, lambda: _read_definition(path))

    async def head(self, path: str, size: int) -> bytes:
        return await self._call(path, lambda: _head(path, size))

    async def is_there(self, path: str) -> bool:
        return await self._call(path, lambda: os.path.exists(path))

    async def rename(self, path: str, new: str) -> None:
        await self._call(path, lambda: os.rename(path, new))

    async def remove(self, path: str) -> None:
        def work() -> None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

        await self._call(path, work)

    async def _call(self, path: str, work: Callable[[], T]) -> T:
        try:
            return await self._lane.call(work, what=path, timeout_s=self._timeout_s)
        except CallOverdue as error:
            raise FileTrouble(f"{path}: its file system has not answered for {self._timeout_s:g} s") from error
        except (OSError, ValueError) as error:
            raise FileTrouble(f"{path}: {(getattr(error, 'strerror', None) or str(error)).lower()}") from error


def read_now(path: str) -> str | None:
    """``HostFiles.read_definition`` for a command line, which may be kept waiting. Raises: FileTrouble."""
    try:
        return _read_definition(path)
    except PermissionError:
        return None  # this user may not look at it; the nodes do, when they start it
    except (OSError, ValueError) as error:
        raise FileTrouble(f"{path}: {(getattr(error, 'strerror', None) or str(error)).lower()}") from error


def _open(path: str) -> BinaryIO | None:
    """None: there, but no regular file. O_NONBLOCK: a fifo without a writer would hold the thread for ever."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        return None
    return open(file, "rb")


def _read_definition(path: str) -> str | None:
    try:
        stream = _open(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stream is None:
        raise FileTrouble(f"{path}: is no regular file")
    with stream:
        size = os.fstat(stream.fileno()).st_size
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise FileTrouble(f"{path}: has {max(size, len(data))} bytes (accepted: at most {MAX_BYTES} bytes)")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileTrouble(f"{path}: is not UTF-8 text: byte {error.start}") from error


def _head(path: str, size: int) -> bytes:
    try:
        stream = _open(path)
    except FileNotFoundError:
        return b""
    if stream is None:
        return b""
    with stream:
        return stream.read(size)
