"""Whether the QEMUs of this host answer: one that was stopped (SIGSTOP), or is stuck, is shown by libvirt as running.

Each is asked something small every now and then, one question at a time, which hangs for as long as its QEMU does. That
it is QEMU that is silent, and not libvirtd, is libvirt's own word: the question's job occupies the domain's monitor.
Nothing is asked of one that is on its way somewhere. With as many silent ones as the channel has room for, nothing is
found out about the others: a host where that happens has told enough.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from vmha.hypervisor.real.calling import call
from vmha.hypervisor.real.connection import Channels
from vmha.model.clock import Clock
from vmha.model.errors import VmhaError

if TYPE_CHECKING:
    import libvirt

ASK_EVERY_S = 30.0
SILENT_S = 10.0
CONTROL_TIMEOUT_S = 5.0
AS_LONG_AS_IT_TAKES_S = 7 * 86400.0
"""A question that hangs is not asked again: its thread waits in libvirt until its QEMU goes on, or ends."""


class MonitorWatch:
    """``silent``: the domains whose QEMU has not answered for ``silent_s``; ``tell`` is called when that changes."""

    def __init__(
        self,
        clock: Clock,
        tell: Callable[[str, str], None],
        *,
        ask_every_s: float = ASK_EVERY_S,
        silent_s: float = SILENT_S,
    ) -> None:
        self._clock, self._tell = clock, tell
        self._ask_every_s, self._silent_s = ask_every_s, silent_s
        self._asked_at: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self.silent: set[str] = set()

    def look(self, channels: Channels, names: Iterable[str]) -> None:
        """These run here, and may be asked."""
        now, here = self._clock.now(), set(names)
        self._asked_at = {name: at for name, at in self._asked_at.items() if name in here}
        for name in sorted(here - self._asking.keys()):
            if now - self._asked_at.get(name, -self._ask_every_s) >= self._ask_every_s:
                self._asked_at[name] = now
                task = asyncio.create_task(self._ask(channels, name), name=f"libvirt-monitor {name}")
                self._asking[name] = task
                task.add_done_callback(lambda _, name=name: self._asking.pop(name, None))  # type: ignore[misc]

    async def close(self) -> None:
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking)

    async def _ask(self, channels: Channels, name: str) -> None:
        what = f"ask the monitor of {name}"
        asked = asyncio.ensure_future(
            call(channels.monitor, lambda one: ask_monitor(one, name), what, AS_LONG_AS_IT_TAKES_S)
        )
        try:
            while not (await asyncio.wait([asked], timeout=self._silent_s))[0]:
                if name not in self.silent and await self._is_occupied(channels, name):
                    self.silent.add(name)
                    self._tell(name, "silent")
            asked.exception()  # it has ended, or its connection has: the next look sees
        finally:
            asked.cancel()
            if name in self.silent:
                self.silent.discard(name)
                self._tell(name, "answers")

    async def _is_occupied(self, channels: Channels, name: str) -> bool:
        try:
            what = f"ask what holds up {name}"
            return await call(channels.look, lambda one: is_occupied(one, name), what, CONTROL_TIMEOUT_S)
        except VmhaError:
            return False


def ask_monitor(connection: "libvirt.virConnect", name: str) -> None:
    """Something that only QEMU knows, and that costs it nothing: whether its processors are halted."""
    import libvirt

    connection.domainListGetStats([connection.lookupByName(name)], libvirt.VIR_DOMAIN_STATS_VCPU)


def is_occupied(connection: "libvirt.virConnect", name: str) -> bool:
    """Asks no QEMU."""
    import libvirt

    control, _, _ = connection.lookupByName(name).controlInfo()
    return bool(control == libvirt.VIR_DOMAIN_CONTROL_OCCUPIED)
