"""The machine's own timer that resets the host unless it is petted: ``/dev/watchdog``, by ioctl.

Promise: after ``open`` with ``is_exact`` the host is reset no later than ``timeout_s`` after the last ``pet``, whatever
becomes of this process. A device whose timeout can not be brought down to what was asked for does not count
(``is_exact`` is False) but is petted all the same, since it ticks from the moment it was opened.

Rules that real drivers taught: GETTIMELEFT is optional (i6300esb and softdog answer EOPNOTSUPP); the device need not
be a character device; SETOPTIONS is declared the wrong way round in the kernel's header and is never used; an
exclusive open answers EBUSY. Closing stops the timer only after the letter V was written, and never for a driver
loaded with ``nowayout``. Standard library only: the guard imports this.
"""

import contextlib
import fcntl
import os
import struct
from dataclasses import dataclass

WDIOC_GETSUPPORT = 0x80285700
WDIOC_KEEPALIVE = 0x80045705
WDIOC_SETTIMEOUT = 0xC0045706
WDIOC_GETTIMEOUT = 0x80045707
WDIOC_GETTIMELEFT = 0x8004570A


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogReading:
    """How the device stands, for status. ``reason`` says why it is not open or does not count."""

    path: str
    is_open: bool
    is_exact: bool
    identity: str = ""
    asked_s: int = 0
    timeout_s: int = 0
    reason: str = ""


class Watchdog:
    """One watchdog device. An empty path means that there is none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._asked_s = 0
        self._timeout_s = 0
        self._identity = ""
        self._reason = "" if path else "no watchdog is configured"

    @property
    def reading(self) -> WatchdogReading:
        return WatchdogReading(
            path=self._path,
            is_open=self.is_open,
            is_exact=self.is_exact,
            identity=self._identity,
            asked_s=self._asked_s,
            timeout_s=self._timeout_s,
            reason=self._reason,
        )

    @property
    def is_open(self) -> bool:
        return self._fd >= 0

    @property
    def is_exact(self) -> bool:
        return self.is_open and 0 < self._timeout_s <= self._asked_s

    @property
    def pet_every_s(self) -> float:
        """How often to pet: four times per timeout, and at least once a second while the timeout is unknown."""
        return (self._timeout_s or self._asked_s or 4) / 4

    def open(self, timeout_s: int) -> None:
        """Open the device, or set the timeout of the open one, and pet it. Failing is a ``reason``, not an error."""
        if not self._path:
            return
        self._asked_s = timeout_s
        if self._fd < 0:
            try:
                # Not blocking: a path that is no device (a pipe without a reader) must not hold the guard up.
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError as error:
                self._reason = f"{self._path}: {error.strerror}"
                return
        self._identity = self._read_identity()
        self._set_timeout(timeout_s)
        self.pet()

    def pet(self) -> None:
        """Put the reset off by another timeout."""
        if self._fd < 0:
            return
        try:
            self._ioctl(WDIOC_KEEPALIVE, bytearray(4))
        except OSError:
            try:
                os.write(self._fd, b"\0")
            except OSError as error:
                self._reason = f"{self._path}: can not be petted: {error.strerror}"

    def close(self) -> bool:
        """Stop the timer and close. False when the driver does not let it stop: then it must be petted on."""
        if self._fd < 0:
            return True
        if _is_nowayout(self._path):
            self._reason = f"{self._path}: its driver has nowayout set, so it is petted until the host stops"
            return False
        with contextlib.suppress(OSError):
            os.write(self._fd, b"V")
        with contextlib.suppress(OSError):
            os.close(self._fd)
        self._fd, self._timeout_s, self._asked_s = -1, 0, 0
        self._reason = "closed"
        return True

    def find_time_left_s(self) -> int | None:
        """Seconds until the reset, where the driver can tell."""
        answer = bytearray(4)
        try:
            self._ioctl(WDIOC_GETTIMELEFT, answer)
        except OSError:
            return None
        return _integer(answer)

    def _set_timeout(self, timeout_s: int) -> None:
        answer = bytearray(struct.pack("<i", timeout_s))
        try:
            try:
                self._ioctl(WDIOC_SETTIMEOUT, answer)
            except OSError:
                # A fixed timeout will do when it is short enough.
                self._ioctl(WDIOC_GETTIMEOUT, answer)
        except OSError as error:
            self._timeout_s = 0
            self._reason = f"{self._path}: its timeout can not be set: {error.strerror}"
            return
        self._timeout_s = _integer(answer)
        self._reason = ""
        if not self.is_exact:
            self._reason = f"{self._path}: its timeout is {self._timeout_s} s, {timeout_s} s was asked for"

    def _read_identity(self) -> str:
        answer = bytearray(40)
        try:
            self._ioctl(WDIOC_GETSUPPORT, answer)
        except OSError:
            return ""
        return bytes(answer[8:]).split(b"\0")[0].decode(errors="replace")

    def _ioctl(self, request: int, buffer: bytearray) -> None:
        if self._fd < 0:
            raise OSError("not open")
        fcntl.ioctl(self._fd, request, buffer)


def _integer(answer: bytearray) -> int:
    return int(struct.unpack("<i", answer)[0])


def _is_nowayout(path: str) -> bool:
    name = os.path.basename(path)
    name = "watchdog0" if name == "watchdog" else name
    try:
        with open(f"/sys/class/watchdog/{name}/nowayout", "rb") as file:
            return file.read(1) == b"1"
    except OSError:
        return False
