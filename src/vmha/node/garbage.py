"""Python's search for cyclic garbage stops the process: a quarter of a second where 10,000 vms are in memory.

Those records are in no cycle, they live long, and go when nothing refers to them. So of Python's own searches only the
shortest are left, of what has just come. A full one is made between two turns of the loop, when as much has come since
the last one as some milliseconds are enough for. When it took long, what outlived it is left out of later ones; and so
is, without a search, what has come when that is too much for one: a plan for thousands of vms, made in a thread. What
this costs: a cycle that was left out and is given up later stays for good. That is what was under way at that instant,
beside tens of thousands of records that were replaced since the last time.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vmha.model.clock import Clock

LONG_S = 0.005
"""On a machine that is busy otherwise it may well be the tenfold."""
_MIDDLE = 1
_NEW = 700
"""Python's own, for the searches of what is new, which take a fraction of a millisecond."""
_NEVER = 1 << 30
OFTEN, TOO_MUCH = 5, 20
"""So many of those before a full one. Each stands for up to 700 objects that are still there."""


@contextmanager
def sparing_the_long_lived(clock: Clock) -> Iterator[Callable[[], None]]:
    """In this process, until the end. Yields what is to be called between two turns of the loop."""

    def look() -> None:
        come = gc.get_count()[_MIDDLE]
        if come < OFTEN:
            return
        if come > TOO_MUCH:
            gc.freeze()
        began_at = clock.now()
        gc.collect()
        if clock.now() - began_at > LONG_S:
            gc.freeze()

    before = gc.get_threshold()
    gc.freeze()  # the program itself
    gc.set_threshold(_NEW, _NEVER, _NEVER)
    try:
        yield look
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
