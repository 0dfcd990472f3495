"""Processes of a simulated host: tasks that stand still while their host is frozen, and go on where they were.

A frozen machine runs nothing, its guard and its agent included, while everybody else's time goes on. Here every task
is made by a factory that remembers on which host it was made (a context variable, inherited by the tasks it makes);
between two steps of such a task its host's gate decides whether it may go on.

The tasks count themselves and hash by that number: sets of tasks then iterate in the same order in every run.
"""

import asyncio
import contextvars
import itertools
import types
from collections.abc import Coroutine, Generator
from typing import Any

_gate: contextvars.ContextVar["Gate | None"] = contextvars.ContextVar("vmha_sim_gate", default=None)


class Gate:
    """One host's processors. Closed: none of its tasks makes a step."""

    def __init__(self) -> None:
        self._is_open = True
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def is_open(self) -> bool:
        return self._is_open

    def close(self) -> None:
        self._is_open = False

    def open(self) -> None:
        self._is_open = True
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def wait(self) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    def context(self) -> contextvars.Context:
        """A context whose tasks, and the tasks of those, run behind this gate."""
        context = contextvars.copy_context()
        context.run(_gate.set, self)
        return context


class _CountedTask(asyncio.Task[Any]):
    _serials = itertools.count(1)

    def __init__(self, coro: Coroutine[Any, Any, Any], **options: Any) -> None:
        self._serial = next(_CountedTask._serials)
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._serial

    def __eq__(self, other: object) -> bool:
        return self is other


def make_task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
    """For ``loop.set_task_factory``."""
    context: contextvars.Context | None = options.get("context")
    gate = context.get(_gate) if context is not None else _gate.get()
    return _CountedTask(_gated(coro, gate) if gate is not None else coro, loop=loop, **options)


@types.coroutine
def _gated(coro: Coroutine[Any, Any, Any], gate: Gate) -> Generator[Any, Any, Any]:
    """Drives ``coro`` step by step; what arrives while the gate is closed (a cancellation too) waits at the gate."""
    thrown: BaseException | None = None
    while True:
        while not gate.is_open:
            try:
                yield from gate.wait()
            except asyncio.CancelledError as error:
                thrown = error
        try:
            waits_for = coro.send(None) if thrown is None else coro.throw(thrown)
        except StopIteration as end:
            return end.value
        thrown = None
        try:
            yield waits_for
        except GeneratorExit:
            coro.close()
            raise
        except BaseException as error:
            thrown = error
