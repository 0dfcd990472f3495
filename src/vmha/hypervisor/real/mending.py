"""Takes the mark of a hand-over off a guest that runs: it ended, and whoever ended it did not live to do so."""

import asyncio
import contextlib
from collections.abc import Mapping

from vmha.hypervisor.real import acting
from vmha.hypervisor.real.calling import call
from vmha.hypervisor.real.connection import Channel
from vmha.model.errors import VmhaError

TIMEOUT_S = 5.0


class Mending:
    """``tagging``: who holds a name's lock there changes its tag just now."""

    def __init__(self, tagging: Mapping[str, asyncio.Lock]) -> None:
        self._tagging = tagging
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def mend(self, act: Channel, name: str) -> None:
        if name in self._tasks or self._tagging[name].locked():
            return

        async def mend() -> None:
            with contextlib.suppress(VmhaError):  # the next look tries again
                async with self._tagging[name]:
                    what = f"mend the tag of {name}"
                    await call(act, lambda one: acting.take_mark_off(one.lookupByName(name)), what, TIMEOUT_S)

        task = self._tasks[name] = asyncio.create_task(mend(), name=f"libvirt-mend {name}")
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
