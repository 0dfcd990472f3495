"""One tick as the witness guest writes it: the head sector and the ring of the disk hold the same record.

::

    sector 0          the boot sector
    sector 1          head: the newest entry, rewritten at every tick
    sector 2 ...      ring: entry number ``seq`` lies in sector 2 + seq mod RING_ENTRIES
"""

import struct
from dataclasses import dataclass

SECTOR = 512
MAGIC = b"VMHATICK"
HEAD_OFFSET = SECTOR
RING_OFFSET = 2 * SECTOR
RING_ENTRIES = 32768  # an hour at nine ticks a second
_FIELDS = struct.Struct("<8sQQQIII")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """``seq`` counts ticks of the disk, ``tick`` those of one boot; ``nonce`` is the boot's own random number.

    ``foreign`` counts how often this instance found that somebody else had written since its last tick.
    ``boots`` counts boots of the disk. ``rtc`` is the guest's clock as hh, mm, ss.
    """

    seq: int
    nonce: int
    tick: int
    foreign: int
    boots: int
    rtc: tuple[int, int, int]


def find_entry(sector: bytes) -> Entry | None:
    """The entry in ``sector``, or None when no guest wrote it."""
    if len(sector) < _FIELDS.size or not sector.startswith(MAGIC):
        return None
    _, seq, nonce, tick, foreign, boots, rtc = _FIELDS.unpack_from(sector)
    hours, minutes, seconds = (_from_bcd(rtc >> shift & 0xFF) for shift in (24, 16, 8))
    return Entry(seq=seq, nonce=nonce, tick=tick, foreign=foreign, boots=boots, rtc=(hours, minutes, seconds))


def pack_entry(entry: Entry) -> bytes:
    """The sector that a guest would write."""
    rtc = 0
    for part in (*entry.rtc, 0):
        rtc = rtc << 8 | int(str(part), 16)
    packed = _FIELDS.pack(MAGIC, entry.seq, entry.nonce, entry.tick, entry.foreign, entry.boots, rtc)
    return packed.ljust(SECTOR, b"\0")


def _from_bcd(value: int) -> int:
    return (value >> 4) * 10 + (value & 15)
