"""Beside a migration under way: how far it is goes on record, and an operator's cancel goes to libvirt.

The call that migrates returns when it is over; until then the placement may change under it, by a cancel alone. The
job is aborted again and again, because an abort that comes before libvirt has begun the job finds nothing to abort.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from vmha.agent.inventory import Inventory
from vmha.hypervisor.port import Hypervisor
from vmha.model.errors import VmhaError
from vmha.model.ids import Epoch, VmName
from vmha.model.records import Phase, Placement
from vmha.policy.snapshot import Snapshot

log = structlog.get_logger(__name__)

PROGRESS_S = 1.0
ABORT_AGAIN_S = 0.5

Try = tuple[Epoch, float]


def try_of(placement: Placement) -> Try:
    """Which migration it is. A cancel changes the record, and it is the same migration."""
    return placement.epoch, placement.since


@dataclass(slots=True, kw_only=True)
class MigrationWatch:
    hypervisor: Hypervisor
    inventory: Inventory
    read_snapshot: Callable[[], Snapshot]
    _news: dict[VmName, asyncio.Event] = field(default_factory=dict)

    def look(self, vm: VmName) -> None:
        """Its placement may have changed."""
        if vm in self._news:
            self._news[vm].set()

    async def beside(self, placement: Placement, coming: Coroutine[Any, Any, None]) -> None:
        """Attend to it while ``coming`` is awaited. Raises as that does."""
        watching = asyncio.create_task(self.attend(placement), name=f"attend-{placement.vm}")
        try:
            await coming
        finally:
            watching.cancel()

    async def attend(self, placement: Placement) -> None:
        """Until it is cancelled (the task, not the migration)."""
        news = self._news[placement.vm] = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._show_progress(placement.vm), name=f"progress-{placement.vm}")
                tasks.create_task(self._heed_cancel(placement, news), name=f"cancel-{placement.vm}")
        finally:
            self._news.pop(placement.vm, None)
            self.inventory.show_migration(placement.vm, None)

    async def _show_progress(self, vm: VmName) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            with suppress(VmhaError):
                if progress := await self.hypervisor.migration_progress(vm):
                    self.inventory.show_migration(vm, progress)

    async def _heed_cancel(self, placement: Placement, news: asyncio.Event) -> None:
        while not self._is_cancelled(placement):
            await news.wait()
            news.clear()
        log.info("calling off a migration", vm=placement.vm, target=placement.target)
        while True:
            with suppress(VmhaError):
                await self.hypervisor.abort_migration(placement.vm)
            await asyncio.sleep(ABORT_AGAIN_S)

    def _is_cancelled(self, placement: Placement) -> bool:
        view = self.read_snapshot().vms.get(placement.vm)
        now = view.placement.value if view and view.placement else None
        if now is None or now.phase is not Phase.MIGRATING or try_of(now) != try_of(placement):
            return False
        return now.cancel is not None
