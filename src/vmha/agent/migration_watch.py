"""Beside a migration under way: how far it is goes on record, and an operator's cancel goes to libvirt.

The call that migrates returns when it is over; until then the placement may change under it, by a cancel alone. The
job is aborted again and again, because an abort that comes before libvirt has begun the job finds nothing to abort.
What is waited for before libvirt is asked at all ends with the cancel.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from vmha.agent.inventory import Inventory
from vmha.agent.memory import try_of
from vmha.agent.ports import AgentPorts
from vmha.hypervisor.port import MigrationFailed
from vmha.model.errors import VmhaError
from vmha.model.ids import VmName
from vmha.model.records import Phase, Placement

log = structlog.get_logger(__name__)

PROGRESS_S = 1.0
ABORT_AGAIN_S = 0.5


@dataclass(slots=True, kw_only=True)
class MigrationWatch:
    ports: AgentPorts
    inventory: Inventory
    _news: dict[VmName, asyncio.Event] = field(default_factory=dict)

    def look(self, vm: VmName) -> None:
        """Its placement may have changed."""
        if vm in self._news:
            self._news[vm].set()

    async def before(self, placement: Placement, waiting: Coroutine[Any, Any, None]) -> None:
        """Await what must come first, while nothing has been asked of the hypervisor yet.

        Raises:
            MigrationFailed: it is called off; and whatever ``waiting`` raises.
        """
        with self._news_of(placement.vm) as news:
            hearing = asyncio.create_task(self._hear_cancel(placement, news), name=f"hear-{placement.vm}")
            first = asyncio.create_task(waiting, name=f"before-{placement.vm}")
            try:
                await asyncio.wait([hearing, first], return_when=asyncio.FIRST_COMPLETED)
                if not first.done():
                    raise MigrationFailed(f"migrate {placement.vm} to {placement.target}: called off before it began")
                await first
            finally:
                hearing.cancel()
                first.cancel()

    async def beside(self, placement: Placement, coming: Coroutine[Any, Any, None]) -> None:
        """Attend to it while ``coming`` is awaited. Raises as that does."""
        watching = asyncio.create_task(self.attend(placement), name=f"attend-{placement.vm}")
        try:
            await coming
        finally:
            watching.cancel()

    async def attend(self, placement: Placement) -> None:
        """Until it is cancelled (the task, not the migration)."""
        try:
            with self._news_of(placement.vm) as news:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._show_progress(placement.vm), name=f"progress-{placement.vm}")
                    tasks.create_task(self._heed_cancel(placement, news), name=f"cancel-{placement.vm}")
        finally:
            self.inventory.show_migration(placement.vm, None)

    @contextmanager
    def _news_of(self, vm: VmName) -> Iterator[asyncio.Event]:
        news = self._news[vm] = asyncio.Event()
        try:
            yield news
        finally:
            if self._news.get(vm) is news:
                del self._news[vm]

    async def _show_progress(self, vm: VmName) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            with suppress(VmhaError):
                if progress := await self.ports.hypervisor.migration_progress(vm):
                    self.inventory.show_migration(vm, progress)

    async def _hear_cancel(self, placement: Placement, news: asyncio.Event) -> None:
        while not self._is_cancelled(placement):
            await news.wait()
            news.clear()

    async def _heed_cancel(self, placement: Placement, news: asyncio.Event) -> None:
        await self._hear_cancel(placement, news)
        log.info("calling off a migration", vm=placement.vm, target=placement.target)
        while True:
            with suppress(VmhaError):
                await self.ports.hypervisor.abort_migration(placement.vm)
            await asyncio.sleep(ABORT_AGAIN_S)

    def _is_cancelled(self, placement: Placement) -> bool:
        view = self.ports.mirror.vm(placement.vm)
        now = view.placement.value if view and view.placement else None
        if now is None or now.phase is not Phase.MIGRATING or try_of(now) != try_of(placement):
            return False
        return now.cancel is not None
