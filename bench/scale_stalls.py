"""What stood in the way of an event loop: stacks of its thread, taken by another one while a turn takes long.

It costs the process a wake-up every ``LOOK_S``, and the interpreter gives a thread its turn only between two calls of
what is written in C: what such a call took is laid to what came after it. Beside the stack stands what other threads
were at, which share the one interpreter with the loop, and how long was searched for garbage, by whichever thread.
"""

import gc
import selectors
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from vmha.model.clock import Clock
from vmha.node.stalls import MeteredSelector, Stalls

LONG_S = 0.05
"""A turn that is longer is counted. One of the bounds of the histogram of turns."""
LOOK_S = 0.004
_WORTH_S = 0.01
_KEPT = 5
_DEEP = 5


@dataclass(slots=True)
class _Turn:
    began_at: float
    stacks: list[str] = field(default_factory=list)
    garbage_s: float = 0.0


class Stacks:
    """``take`` the longest turns since it was last asked. The loop is the one of the thread that makes this."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loops = threading.get_ident()
        self._turn: _Turn | None = None
        self._kept: list[dict[str, Any]] = []
        self._over = threading.Event()
        self._searching_since = 0.0
        gc.callbacks.append(self._garbage)
        threading.Thread(target=self._look_on, name="stacks", daemon=True).start()

    def take(self) -> list[dict[str, Any]]:
        kept, self._kept = self._kept, []
        return kept

    def end(self) -> None:
        self._over.set()
        gc.callbacks.remove(self._garbage)

    def turn_begins(self) -> None:
        self._turn = _Turn(self._clock.now())

    def turn_ends(self, cpu_s: float) -> None:
        turn, self._turn = self._turn, None
        if turn is None or not turn.stacks:
            return
        mostly = Counter(turn.stacks).most_common(1)[0][0]
        if turn.garbage_s >= _WORTH_S:
            mostly += f"; garbage was searched for during {turn.garbage_s:.3f} s of it"
        took = {"s": round(self._clock.now() - turn.began_at, 3), "cpu_s": round(cpu_s, 3), "in": mostly}
        self._kept = sorted([*self._kept, took], key=lambda one: -one["s"])[:_KEPT]

    def _garbage(self, phase: str, about: dict[str, Any]) -> None:
        now, turn = self._clock.now(), self._turn
        if phase == "start":
            self._searching_since = now
        elif turn is not None:
            turn.garbage_s += now - max(self._searching_since, turn.began_at)

    def _look_on(self) -> None:
        mine = threading.get_ident()
        while not self._over.wait(LOOK_S):
            turn = self._turn
            if turn is None or self._clock.now() - turn.began_at < _WORTH_S:
                continue
            frames = sys._current_frames()
            beside = [_where(frame, deep=1) for thread, frame in frames.items() if thread not in (self._loops, mine)]
            here = _where(frames[self._loops], deep=_DEEP)
            busy = sorted(one for one in beside if one)
            turn.stacks.append(f"{here} (beside {', '.join(busy)})" if busy else here)


class WatchedSelector(MeteredSelector):
    """Where the leader's loop waits. ``turns`` are its turns in processor time of its thread, which neither a busy
    machine makes longer nor a thread that has the interpreter.
    """

    def __init__(
        self, stalls: Stalls, clock: Clock, between: Callable[[], None], *, turns: Stalls, stacks: Stacks | None
    ) -> None:
        super().__init__(stalls, clock, between)
        self._turns, self._stacks = turns, stacks
        self._began_at: float | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(timeout)
        self._began_at = time.thread_time()
        if self._stacks:
            self._stacks.turn_begins()
        return events

    def _end_turn(self) -> None:
        super()._end_turn()
        if self._began_at is None:
            return
        cpu_s = time.thread_time() - self._began_at
        self._turns.stood(cpu_s)
        if self._stacks:
            self._stacks.turn_ends(cpu_s)


def _where(frame: FrameType, *, deep: int) -> str:
    """The innermost of the product's own functions, the last called first."""
    called = [(one.f_code, line) for one, line in traceback.walk_stack(frame)]
    ours = [
        f"{code.co_filename.rpartition('/vmha/')[2]}:{line} {code.co_name}"
        for code, line in called
        if "/vmha/" in code.co_filename
    ]
    return " < ".join(ours[:deep])
