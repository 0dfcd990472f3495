"""The world that steps act on, and what of them is still in force.

Several steps may hold one thing (a cable that is cut twice): it is mended when the last of them is over.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from vmha.hypervisor.twin.fabric_state import Guest
from vmha.model.errors import VmhaError
from vmha.model.settings import HostShutdown, Timing
from vmha.sim.faults.schedule import Schedule, VmDrawn
from vmha.sim.world.hands import Hands
from vmha.sim.world.host import SimHost
from vmha.sim.world.world import World

SHUTDOWN = HostShutdown(migrate_s=10.0, stop_s=10.0)
"""How long an orderly shutdown of a host waits for its vms to leave, or to stop, before the power goes."""

End = Callable[[], Awaitable[Any] | None]


class Stage:
    """One life's."""

    def __init__(self, world: World, hands: Hands, schedule: Schedule) -> None:
        self.world, self.hands = world, hands
        self.timing: Timing = schedule.timing
        self.vms: dict[str, VmDrawn] = {vm.name: vm for vm in schedule.vms}
        self._holds: dict[str, int] = {}
        self._ends: dict[str, End] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_over = False

    def host(self, name: str) -> SimHost:
        return self.hands.host(name)

    def find_guest(self, vm: str) -> Guest | None:
        """Its QEMU, on a host on which anything happens."""
        guest = self.hands.find_guest(vm)
        return None if guest is None or not guest.host.has_power or guest.host.is_frozen else guest

    def hold(self, what: str, for_s: float, end: End) -> None:
        """``end`` is called when nobody holds ``what`` any more, at the latest by ``end_all``."""
        self._holds[what] = self._holds.get(what, 0) + 1
        self._ends[what] = end
        asyncio.get_running_loop().call_later(for_s, self._release, what)

    def later(self, after_s: float, do: End) -> None:
        """Done all the same when everything is mended meanwhile."""
        asyncio.get_running_loop().call_later(after_s, self._end, do)

    def is_held(self, what: str) -> bool:
        return what in self._holds

    def _release(self, what: str) -> None:
        if self._is_over:
            return
        self._holds[what] -= 1
        if not self._holds[what]:
            del self._holds[what]
            self._end(self._ends.pop(what))

    def _end(self, end: End) -> None:
        result = end()
        if result is not None:
            task = asyncio.get_running_loop().create_task(_quietly(result), name="end of a fault")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def end_all(self) -> None:
        """Everything that lasts is over."""
        self._is_over = True
        ends, self._ends = self._ends, {}
        for what in sorted(ends):
            self._end(ends[what])


async def _quietly(work: Awaitable[Any]) -> None:
    with contextlib.suppress(VmhaError):
        await work
