"""The emulated watchdog behaves as the kernel's watchdog drivers do."""

import asyncio
import errno
import struct
from collections.abc import Callable

import pytest

from vmha.lab.watchdog import (
    CARD_RESET,
    WDIOC_GETBOOTSTATUS,
    WDIOC_GETSUPPORT,
    WDIOC_GETTIMELEFT,
    WDIOC_GETTIMEOUT,
    WDIOC_KEEPALIVE,
    WDIOC_SETOPTIONS,
    WDIOC_SETTIMEOUT,
    Watchdog,
)


def number(data: bytes) -> int:
    value: int = struct.unpack("<i", data)[0]
    return value


def fails_with(code: int, call: Callable[[], object]) -> bool:
    with pytest.raises(OSError) as caught:  # noqa: PT011 (the errno is the point)
        call()
    return caught.value.errno == code


async def test_opening_arms_it_and_only_one_may_hold_it() -> None:
    watchdog = Watchdog(lambda: None)
    assert not watchdog.is_armed
    watchdog.open()
    assert watchdog.is_armed
    assert fails_with(errno.EBUSY, watchdog.open)
    watchdog.release()
    watchdog.open()
    watchdog.disarm()


async def test_only_a_close_after_the_magic_letter_disarms_it() -> None:
    watchdog = Watchdog(lambda: None)
    watchdog.open()
    watchdog.write(b"x")
    watchdog.release()
    assert watchdog.is_armed
    watchdog.open()
    watchdog.write(b"V")
    watchdog.write(b"x")  # changed its mind
    watchdog.release()
    assert watchdog.is_armed
    watchdog.open()
    watchdog.write(b"V")
    watchdog.release()
    assert not watchdog.is_armed


async def test_unpetted_it_fires_once() -> None:
    fired = asyncio.Event()
    watchdog = Watchdog(fired.set)
    watchdog.open()
    assert number(watchdog.ioctl(WDIOC_SETTIMEOUT, struct.pack("<i", 1))) == 1
    async with asyncio.timeout(30):
        await fired.wait()
    assert not watchdog.is_armed
    assert watchdog.time_left_s() is None


async def test_its_calls_answer_as_the_drivers_do() -> None:
    watchdog = Watchdog(lambda: None, boot_status=CARD_RESET)
    watchdog.open()
    assert number(watchdog.ioctl(WDIOC_GETBOOTSTATUS, b"")) == CARD_RESET
    assert number(watchdog.ioctl(WDIOC_SETTIMEOUT, struct.pack("<i", 30))) == 30
    assert number(watchdog.ioctl(WDIOC_GETTIMEOUT, b"")) == 30
    assert number(watchdog.ioctl(WDIOC_KEEPALIVE, b"")) == 0
    assert b"watchdog" in watchdog.ioctl(WDIOC_GETSUPPORT, b"")
    assert fails_with(errno.EINVAL, lambda: watchdog.ioctl(WDIOC_SETTIMEOUT, struct.pack("<i", 0)))
    assert fails_with(errno.EOPNOTSUPP, lambda: watchdog.ioctl(WDIOC_GETTIMELEFT, b""))
    assert fails_with(errno.EOPNOTSUPP, lambda: watchdog.ioctl(WDIOC_SETOPTIONS, b""))
    assert fails_with(errno.ENOTTY, lambda: watchdog.ioctl(1, b""))
    watchdog.disarm()
