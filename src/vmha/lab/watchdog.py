"""A host's hardware watchdog, emulated outside the host: it fires for a frozen host too, which is the point of one.

As the kernel's drivers behave: one opener at a time (EBUSY), every write pets it, closing after a written 'V' disarms
it, closing without (also by SIGKILL of the holder) leaves it running. As the real i6300esb and softdog it does not tell
the time left (EOPNOTSUPP). When it fires, the host's power is cut and the host boots again, with the card-reset bit in
its boot status.
"""

import asyncio
import errno
import struct
from collections.abc import Callable

_MAGIC_CLOSE = b"V"
CARD_RESET = 0x20
_OPTIONS = 0x80 | 0x100 | 0x8000  # SETTIMEOUT, MAGICCLOSE, KEEPALIVEPING
_IDENTITY = b"vmha lab watchdog"
_DEFAULT_TIMEOUT_S = 60
_MAX_TIMEOUT_S = 65535


def _number(direction: int, number: int, size: int) -> int:
    return (direction << 30) | (size << 16) | (ord("W") << 8) | number


_READ, _READ_WRITE = 2, 3
WDIOC_GETSUPPORT = _number(_READ, 0, 40)
WDIOC_GETSTATUS = _number(_READ, 1, 4)
WDIOC_GETBOOTSTATUS = _number(_READ, 2, 4)
WDIOC_SETOPTIONS = _number(_READ, 4, 4)
WDIOC_KEEPALIVE = _number(_READ, 5, 4)
WDIOC_SETTIMEOUT = _number(_READ_WRITE, 6, 4)
WDIOC_GETTIMEOUT = _number(_READ, 7, 4)
WDIOC_GETTIMELEFT = _number(_READ, 10, 4)


class Watchdog:
    """Counts down on the event loop; ``on_fire`` is called once when nobody petted it in time."""

    def __init__(self, on_fire: Callable[[], None], *, boot_status: int = 0) -> None:
        self._on_fire = on_fire
        self._boot_status = boot_status
        self._timeout_s = _DEFAULT_TIMEOUT_S
        self._is_open = False
        self._may_disarm = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_armed(self) -> bool:
        return self._timer is not None

    @property
    def timeout_s(self) -> int:
        return self._timeout_s

    def time_left_s(self) -> float | None:
        if self._timer is None:
            return None
        return max(0.0, self._timer.when() - asyncio.get_running_loop().time())

    def disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def open(self) -> None:
        if self._is_open:
            raise OSError(errno.EBUSY, "already open")
        self._is_open, self._may_disarm = True, False
        self._pet()

    def write(self, data: bytes) -> None:
        self._may_disarm = _MAGIC_CLOSE in data
        self._pet()

    def release(self) -> None:
        self._is_open = False
        if self._may_disarm:
            self.disarm()

    def ioctl(self, number: int, data: bytes) -> bytes:
        match number:
            case n if n == WDIOC_GETSUPPORT:
                return struct.pack("<II32s", _OPTIONS, 0, _IDENTITY)
            case n if n == WDIOC_GETSTATUS:
                return struct.pack("<i", 0)
            case n if n == WDIOC_GETBOOTSTATUS:
                return struct.pack("<i", self._boot_status)
            case n if n == WDIOC_KEEPALIVE:
                self._pet()
                return struct.pack("<i", 0)
            case n if n == WDIOC_SETTIMEOUT:
                self._set_timeout(struct.unpack("<i", data)[0])
                return struct.pack("<i", self._timeout_s)
            case n if n == WDIOC_GETTIMEOUT:
                return struct.pack("<i", self._timeout_s)
            case n if n in (WDIOC_GETTIMELEFT, WDIOC_SETOPTIONS):
                raise OSError(errno.EOPNOTSUPP, "not supported")
            case _:
                raise OSError(errno.ENOTTY, "no such watchdog call")

    def _set_timeout(self, timeout_s: int) -> None:
        if not 1 <= timeout_s <= _MAX_TIMEOUT_S:
            raise OSError(errno.EINVAL, "timeout out of range")
        self._timeout_s = timeout_s
        self._pet()

    def _pet(self) -> None:
        self.disarm()
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._on_fire()
