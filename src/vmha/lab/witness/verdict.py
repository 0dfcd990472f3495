"""What a witness disk proves: how often the guest booted, whether it ran on, and whether two ever ran at once.

The judgement needs nothing but the disk:

- every boot draws a **nonce**; a new nonce with tick 1 is a boot;
- memory survives a migration, so nonce and tick go on without a gap over any number of hand-overs;
- two boots at once: a nonce writes **again** after another nonce wrote (``returns``);
- a clone after a migration has the same nonce, so only the order tells: its tick is not the one before plus one
  (``tick_breaks``), and both sides find foreign entries in the head (``foreign``).

The ring holds the last 32768 ticks, an hour. Older ones are overwritten: the verdict says so (``wrapped``); ``boots``,
``ticks`` and the foreign count of instances still alive reach back to the first tick all the same.

The guest's clock has whole seconds, too coarse for a gap: gaps and migrations are the storage server's to tell, which
sees every write (``vmha.lab.writers``).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vmha.lab.witness.entry import HEAD_OFFSET, RING_ENTRIES, RING_OFFSET, SECTOR, Entry, find_entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Read from the disk alone."""

    boots: int
    ticks: int
    instances: int
    returns: int
    tick_breaks: int
    foreign: int
    wrapped: bool
    last: Entry | None

    @property
    def ran_twice(self) -> bool:
        return bool(self.returns or self.tick_breaks or self.foreign)


def judge(head: Entry | None, ring: Iterable[Entry]) -> Verdict:
    """Judge the entries of one disk, in any order.

    ``returns`` counts changes of the writer back to a nonce that had written before another one did. The disk's own
    count of boots can lose one while two run: the older writes back the head that it had read before the younger's
    first tick. The nonces of the ring still tell.
    """
    entries = sorted(ring, key=lambda entry: entry.seq)
    last_tick: dict[int, int] = {}
    returns = tick_breaks = 0
    previous: Entry | None = None
    for entry in entries:
        known = last_tick.get(entry.nonce)
        if known is not None:
            assert previous is not None
            returns += previous.nonce != entry.nonce
            tick_breaks += entry.tick != known + 1
        last_tick[entry.nonce] = entry.tick
        previous = entry
    newest = head if head is not None else previous
    return Verdict(
        boots=max(newest.boots if newest else 0, len(last_tick)),
        ticks=newest.seq if newest else 0,
        instances=len(last_tick),
        returns=returns,
        tick_breaks=tick_breaks,
        foreign=max((entry.foreign for entry in entries), default=0),
        wrapped=bool(entries) and entries[0].seq > 1,
        last=newest,
    )


def read_disk(path: Path) -> Verdict:
    """Judge a disk image, also while its guest runs.

    The ring is read before the head: an entry that appears in between is missed, never half seen as a gap.
    """
    with path.open("rb") as file:
        file.seek(RING_OFFSET)
        ring = file.read(RING_ENTRIES * SECTOR)
        file.seek(HEAD_OFFSET)
        head = find_entry(file.read(SECTOR))
    found = (find_entry(ring[at : at + SECTOR]) for at in range(0, len(ring), SECTOR))
    return judge(head, (entry for entry in found if entry is not None))
