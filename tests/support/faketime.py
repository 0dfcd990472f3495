"""A process whose wall clock is set while it runs: libfaketime (Debian's package faketime) answers for the kernel.

The clocks that go on whatever is set, CLOCK_MONOTONIC and CLOCK_BOOTTIME, it leaves alone, as the kernel does.
"""

from pathlib import Path

from vmha.model.clock import SystemClock

DAY_S = 86400.0


def environment(file: Path | str, *, at_once: bool = False) -> dict[str, str]:
    """Of a process that goes by what ``file`` says, within a second, or (``at_once``) as soon as it asks."""
    (library, *_) = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        **({"FAKETIME_NO_CACHE": "1"} if at_once else {"FAKETIME_CACHE_DURATION": "1"}),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def to_1970() -> str:
    """For the file: set back to the second of January 1970."""
    return f"-{SystemClock().wall() - DAY_S:.0f}"
