"""One regular file served over raw FUSE: the wire, without a library and without a thread.

The file is the root of its own mount (a file mounted on a file). Only what a character device answers is served: open,
write, ioctl, close. Protocol: <linux/fuse.h>, version 7.31.

FUSE passes an ioctl's data by the direction and size in its number, so a number that lies about its direction (such as
WDIOC_SETOPTIONS, declared as output and really input) can not be served.
"""

import asyncio
import errno
import os
import struct
from enum import IntEnum
from typing import Protocol


class _Op(IntEnum):
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FLUSH = 25
    INIT = 26
    INTERRUPT = 36
    IOCTL = 39
    BATCH_FORGET = 42


_SILENT = frozenset({_Op.FORGET, _Op.INTERRUPT, _Op.BATCH_FORGET})
_IN_HEADER = struct.Struct("<IIQQIIII")
_OUT_HEADER = struct.Struct("<IiQ")
_DIRECT_IO, _NONSEEKABLE = 1, 4
_MODE = 0o100600


class DeviceFile(Protocol):
    """What stands behind the file. Every method may raise OSError, whose errno the caller sees."""

    def open(self) -> None: ...

    def write(self, data: bytes) -> None: ...

    def ioctl(self, number: int, data: bytes) -> bytes: ...

    def release(self) -> None:
        """The last copy of an open file is closed, also by the death of its holder."""


class FuseFile:
    """Answers the kernel's requests on one /dev/fuse descriptor from the event loop."""

    def __init__(self, device: DeviceFile) -> None:
        """Raises: OSError when /dev/fuse can not be opened."""
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        self._device = device
        self._loop: asyncio.AbstractEventLoop | None = None

    def serve(self) -> None:
        """Begin to answer. Only once mounted: before that the descriptor polls as broken for good."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.fd, self._on_readable)

    def close(self) -> None:
        if self.fd >= 0:
            self._stop_reading()
            os.close(self.fd)
            self.fd = -1

    def _stop_reading(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self.fd)
            self._loop = None

    def _on_readable(self) -> None:
        while self._loop is not None:
            try:
                request = os.read(self.fd, 1 << 17)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in {errno.EINTR, errno.ENOENT}:  # the request was taken back
                    continue
                self._stop_reading()  # ENODEV: unmounted, the machine is gone
                return
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        length, opcode, unique, *_ = _IN_HEADER.unpack_from(request)
        if opcode in _SILENT:
            return
        try:
            reply, code = self._handle(opcode, request[_IN_HEADER.size : length]), 0
        except OSError as error:
            reply, code = b"", error.errno or errno.EIO
        try:
            os.write(self.fd, _OUT_HEADER.pack(_OUT_HEADER.size + len(reply), -code, unique) + reply)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENODEV, errno.EINVAL}:  # nobody waits any more
                raise

    def _handle(self, opcode: int, body: bytes) -> bytes:
        match opcode:
            case _Op.INIT:  # version, readahead, flags, backlog, write size, time granularity
                head = struct.pack("<IIIIHHIIHHIII", 7, 31, 0, 0, 8, 8, 4096, 1, 0, 0, 0, 0, 0)
                return head + bytes(20)
            case _Op.GETATTR | _Op.SETATTR:  # (a shell's '>' truncates)
                return struct.pack("<QII", 1, 0, 0) + struct.pack(
                    "<6Q10I", 1, 0, 0, 0, 0, 0, 0, 0, 0, _MODE, 1, 0, 0, 0, 512, 0
                )
            case _Op.OPEN:
                self._device.open()
                return struct.pack("<QIi", 1, _DIRECT_IO | _NONSEEKABLE, 0)
            case _Op.WRITE:
                size = struct.unpack_from("<I", body, 16)[0]
                self._device.write(body[40 : 40 + size])
                return struct.pack("<II", size, 0)
            case _Op.IOCTL:
                number, _argument, in_size = struct.unpack_from("<IQI", body, 12)
                return struct.pack("<iIII", 0, 0, 0, 0) + self._device.ioctl(number, body[32 : 32 + in_size])
            case _Op.RELEASE:
                self._device.release()
                return b""
            case _Op.FLUSH:
                return b""
            case _Op.STATFS:
                return struct.pack("<5Q4I", 0, 0, 0, 0, 0, 512, 255, 512, 0) + bytes(24)
            case _Op.READ:
                raise OSError(errno.EINVAL, "a watchdog has nothing to read")
            case _:
                raise OSError(errno.ENOSYS, "not served")
