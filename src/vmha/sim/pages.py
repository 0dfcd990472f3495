"""Large pages: where a process that plays many lives keeps its objects.

A life goes through some tens of MiB again and again and in no order. In pages of 4 KiB the processor has to look up,
time after time, where in the memory they are; of pages of 2 MiB it remembers all. Linux is asked for them here, for
what there is by now. It is a matter of speed alone: where they can not be had, nothing else changes.
"""

import ctypes
import mmap
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

MAPS: Final = Path("/proc/self/maps")
_LARGE: Final = 2 << 20
_COLLAPSE: Final = 25
"""MADV_COLLAPSE, since Linux 6.1: at once, whatever has been written there already."""


def use_large_pages() -> None:
    """For all that this process holds by now. To be asked for again: what is taken later comes in small ones."""
    if not sys.platform.startswith("linux"):
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    with suppress(OSError):
        for begin, end in own_memory(MAPS):
            madvise(begin, end - begin, mmap.MADV_HUGEPAGE)
            madvise(begin, end - begin, _COLLAPSE)


def own_memory(maps: Path) -> Iterator[tuple[int, int]]:
    """Of ``maps``, as proc(5) has it: what lies in no file, as far as it is made of whole large pages."""
    for line in maps.read_text().splitlines():
        where, rights, _, _, _, *name = line.split(maxsplit=5)
        if rights.startswith("rw") and name in ([], ["[heap]"]):
            begin, end = (int(at, 16) for at in where.split("-"))
            begin, end = -(-begin // _LARGE) * _LARGE, end // _LARGE * _LARGE
            if begin < end:
                yield begin, end
