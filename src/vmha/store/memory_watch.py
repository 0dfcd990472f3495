"""A watch of the store in memory: what has arrived at its client, in order, and what of a commit concerns it."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from vmha.store.port import Batch

_REMEMBERED: Final = 32


class WatchLine:
    """One watch on its connection: what has arrived and was not read yet. ``is_over``: nothing more comes."""

    def __init__(self, client: str, prefix: str) -> None:
        self.client, self.prefix = client, prefix
        self.is_over = False
        self.last_due_s = 0.0
        self._arrived: deque[Batch] = deque()
        self._latest: deque[Batch] = deque(maxlen=_REMEMBERED)
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None

    def take(self, batch: Batch) -> None:
        if not self.is_over:
            self._arrived.append(batch)
            self._latest.append(batch)
            self.wake()

    def repeat(self, changes: int) -> None:
        self._arrived.extend(tuple(self._latest)[-changes:])
        self.wake()

    def read(self) -> Batch | None:
        return self._arrived.popleft() if self._arrived else None

    def end(self) -> None:
        """What is on its way is lost with the connection."""
        self.is_over = True
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """For the next arrival, or the end."""
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


def hand_out(deliveries: Sequence[tuple[WatchLine, Batch]]) -> None:
    """What arrives at one instant."""
    for line, batch in deliveries:
        line.take(batch)


def cut_down(batch: Batch, prefix: str) -> Batch | None:
    """What of ``batch`` lies below ``prefix``; None: nothing."""
    changes = tuple(change for change in batch.changes if change.key.startswith(prefix))
    if len(changes) == len(batch.changes):
        return batch
    return Batch(revision=batch.revision, changes=changes) if changes else None
