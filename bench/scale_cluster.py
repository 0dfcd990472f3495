"""A large cluster on one real etcd, as a measure of it waits for it and asks it, whoever its agents are.

``scale_real``: every agent is the product. ``scale_played``: the leader is, and the agents are played.
"""

import asyncio
import contextlib
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.support.etcd import RealEtcd

from bench.scale_watch import Watcher
from vmha.model.clock import SystemClock
from vmha.model.ids import Revision
from vmha.model.keys import Keys
from vmha.operator.client import OperatorClient
from vmha.sim.judge.invariants import Violation
from vmha.store.etcd import EtcdStore
from vmha.store.port import Op, Store

KEYS = Keys("scale")
AT_ONCE = 100
"""Operations in a transaction."""


class NotInTime(Exception):
    """What was waited for did not come."""


class Cluster(ABC):
    """``groups``: nodes that share their vms. ``vms``: their names, once they are wanted running. ``lost``: nodes that
    are gone.
    """

    groups: list[list[str]]

    def __init__(self, etcd: RealEtcd) -> None:
        self.clock, self.keys, self.etcd = SystemClock(), KEYS, etcd
        self.store = EtcdStore(etcd.endpoints)
        self.operator = OperatorClient(self.store, self.keys, self.clock, author="operator")
        self.watcher = Watcher(self.store, self.keys, self.clock)
        self.vms: list[str] = []
        self.lost: set[str] = set()
        self.folder = Path(tempfile.mkdtemp(prefix="vmha-scale-"))
        self._beside: list[asyncio.Task[None]] = []

    # --- orders

    @abstractmethod
    async def start_vms(self, count: int) -> None:
        """So many are to run that nobody ever ran: all at once."""

    @abstractmethod
    async def lose(self, names: Sequence[str]) -> float:
        """These nodes are gone in an instant. Returns when that was."""

    # --- looking

    @abstractmethod
    async def look(self) -> list[dict[str, Any]]:
        """Each process's own word; the leader's first."""

    @abstractmethod
    async def violations(self) -> list[Violation] | None:
        """What was done that must never be. None: nothing ran, and there is nothing to judge."""

    def all_run(self, *, off: Sequence[str] = ()) -> bool:
        """Every vm runs, none on a host that is lost nor on one of ``off``."""
        not_there = self.lost | set(off)
        running = self.watcher.running
        return len(running) == len(self.vms) and all(node not in not_there for node, _, _ in running.values())

    async def until(self, condition: Callable[[], bool], what: str, *, timeout_s: float) -> None:
        give_up_at = self.clock.now() + timeout_s
        while not condition():
            for task in self._beside:
                if task.done():
                    task.result()
            if self.clock.now() > give_up_at:
                running, online = len(self.watcher.running), len(self.watcher.online)
                raise NotInTime(f"{what}: not within {timeout_s:g} s ({running} vms run, {online} nodes are online)")
            await self.watcher.moves(0.1)

    async def quiet(self, *, for_s: float, timeout_s: float) -> None:
        """Until nothing but beats was written for a while."""
        calm = lambda: self.clock.now() > self.watcher.last_deed_at + for_s  # noqa: E731
        await self.until(calm, "quiet", timeout_s=timeout_s)

    # --- for whoever makes one

    def follow(self, revision: Revision) -> None:
        self.beside(self.watcher.follow(revision), "watcher")

    def beside(self, work: Any, name: str) -> None:
        self._beside.append(asyncio.create_task(work, name=name))

    async def write(self, ops: Iterable[Op]) -> None:
        await write(self.store, ops)

    async def close(self) -> None:
        for task in self._beside:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._beside, return_exceptions=True)
        await self.store.close()
        shutil.rmtree(self.folder, ignore_errors=True)


async def write(store: Store, ops: Iterable[Op]) -> None:
    """However many they are."""
    every = list(ops)
    for at in range(0, len(every), AT_ONCE):
        await store.txn([], every[at : at + AT_ONCE], timeout_s=60.0)
