"""What lets an agent's event loop stand as little as can be: set up once for a process, before its loop begins.

* The readers of all kinds of records are there before the first is read, not made in the middle of a listing.
* Python does not go through all that lives long for garbage, nor in the middle of anything (``garbage``).
* The loop shares the one interpreter with the threads that plan. When it wants it back it waits until the other thread
  has had it for ``SWITCH_S``; and in one turn it lets it go many times, with each call to the kernel.
* How long it stands is seen where it waits (``stalls``).
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vmha.model.clock import Clock
from vmha.model.keys import prepare
from vmha.node.garbage import sparing_the_long_lived
from vmha.node.stalls import MeteredSelector, Stalls

SWITCH_S = 0.001
"""Python's own is five times as much. A thread that plans gets no less done."""


@contextmanager
def responsive(
    stalls: Stalls,
    clock: Clock,
    *,
    selector: Callable[[Stalls, Clock, Callable[[], None]], MeteredSelector] = MeteredSelector,
) -> Iterator[asyncio.Runner]:
    prepare()
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        with sparing_the_long_lived(clock) as look:
            waits = selector(stalls, clock, look)
            with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(waits)) as runner:
                yield runner
    finally:
        sys.setswitchinterval(before)
