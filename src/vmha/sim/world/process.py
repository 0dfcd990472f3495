"""Processes of a simulated host: tasks that stand still while their process does, and that can be struck at any step.

A frozen machine runs nothing, its guard and its agent included, while everybody else's time goes on; a process that was
sent SIGSTOP stands alone. A task belongs to the process in whose context it was made, and so do the tasks and timers
that it makes. The loop asks before each step of such a task (``virtual.VirtualLoop``):

* a process that stands has its steps kept, in their order, until it goes on: nothing that reached it is lost;
* a process with a fuse has something done to it right before its n-th step from now: a crash at any ``await``.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol, cast

PROCESS: contextvars.ContextVar["Process"] = contextvars.ContextVar("vmha_sim_process")


class Process:
    """Stands while there is a reason to: the machine's, its own, or both."""

    def __init__(self) -> None:
        self._reasons: set[str] = set()
        self._fuse: Callable[[], object] | None = None
        self._steps_left = 0
        self.kept: list[Any] = []  # the loop's handles
        self.is_watched = False
        """Does the loop have to ask (``may_step``) before a step?"""

    @property
    def is_standing(self) -> bool:
        return bool(self._reasons)

    def stand(self, why: str = "") -> None:
        self._reasons.add(why)
        self.is_watched = True

    def go_on(self, why: str = "") -> None:
        """Takes back one reason. What was kept goes on with the loop's next step when it was the last."""
        self._reasons.discard(why)
        if not self._reasons:
            kept, self.kept = self.kept, []
            if kept:
                cast(_TakesBack, asyncio.get_running_loop()).take_back(kept)
            self._look()

    def strike_at(self, step: int, fuse: Callable[[], object]) -> None:
        """Call ``fuse`` right before this process makes its ``step``-th step from now (the first is 1)."""
        self._steps_left, self._fuse = step, fuse
        self._look()

    def spare(self) -> None:
        """Takes back ``strike_at``."""
        self._fuse = None
        self._look()

    def may_step(self) -> bool:
        """Called right before each step while ``is_watched``."""
        if self._fuse is not None and not self._reasons:
            self._steps_left -= 1
            if self._steps_left <= 0:
                fuse, self._fuse = self._fuse, None
                self._look()
                fuse()
        return not self._reasons

    def context(self) -> contextvars.Context:
        """A context whose tasks, and the tasks of those, are this process's."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        return context

    def _look(self) -> None:
        self.is_watched = bool(self._reasons) or self._fuse is not None


class _TakesBack(Protocol):
    """The loop: it goes on with calls that it had to keep."""

    def take_back(self, handles: Iterable[Any]) -> None: ...


class _CountedTask(asyncio.Task[Any]):
    """Sets of tasks iterate in the order of their numbers: a task's address would differ from run to run."""

    def __init__(self, number: int, coro: Coroutine[Any, Any, Any], **options: Any) -> None:
        self._number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


def make_task(number: int, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
    return _CountedTask(number, coro, loop=loop, **options)
