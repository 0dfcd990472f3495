"""Python's search for cyclic garbage stops the process: a quarter of a second where 10,000 vms are in memory.

Those records are in no cycle, they live long, and go when nothing refers to them. So when a full search took long,
what outlived it is left out of later ones. The next full search looks at what has come since, and takes long only when
that is much again. What this costs: a cycle that lived through such a search and is given up later stays for good. That
is what was under way at that instant, beside tens of thousands of records that were replaced since the last time.
"""

import gc
from collections.abc import Callable
from typing import Any

from vmha.model.clock import Clock

LONG_S = 0.015
_FULL = 2
_OFTEN = (700, 10, 5)
"""Full searches twice as often as by default, so that each has half as much to look at."""


def spare_the_long_lived(clock: Clock) -> Callable[[], None]:
    """From now on, in this process. Returns the way to undo it."""
    before = gc.get_threshold()
    gc.freeze()  # the program itself
    gc.set_threshold(*_OFTEN)
    begun_at = 0.0

    def watch(phase: str, about: dict[str, Any]) -> None:
        nonlocal begun_at
        if about["generation"] != _FULL:
            return
        if phase == "start":
            begun_at = clock.now()
        elif clock.now() - begun_at > LONG_S:
            gc.freeze()

    gc.callbacks.append(watch)

    def undo() -> None:
        gc.set_threshold(*before)
        gc.callbacks.remove(watch)
        gc.unfreeze()

    return undo
