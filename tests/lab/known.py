"""When etcd knew it: a watch of its own beside the cluster's, and this machine's clock as each change comes."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.lab.cluster import Cluster
from vmha.lab.layout import LabDir
from vmha.model.clock import SystemClock
from vmha.model.ids import Revision
from vmha.store.etcd import EtcdStore

PREFIX = "/vmha/lab/"


@dataclass(frozen=True, kw_only=True)
class Known:
    """``record``: what the key holds since then; None: it was deleted."""

    at: float
    key: str
    record: dict[str, Any] | None


@dataclass(kw_only=True)
class Watched:
    changes: list[Known] = field(default_factory=list)

    def first(self, is_it: Callable[[Known], bool], *, since: float = 0.0) -> float:
        """When etcd knew first what is looked for."""
        found = [one.at for one in self.changes if one.at >= since and is_it(one)]
        assert found, [(one.key, one.record) for one in self.changes if one.at >= since and "/beat" not in one.key]
        return found[0]


@contextmanager
def watched(cluster: Cluster) -> Iterator[Watched]:
    """Every change of the cluster's keys, until the end."""
    found, listens, loop = Watched(), threading.Event(), asyncio.new_event_loop()

    clock = SystemClock()

    async def watch() -> None:
        store = EtcdStore([f"unix:{LabDir(cluster.lab.path).etcd}"])
        try:
            begin = (await store.list(PREFIX, timeout_s=10.0)).revision
            listens.set()
            async with aclosing(store.watch(PREFIX, start_revision=Revision(begin + 1))) as batches:
                async for batch in batches:
                    for change in batch.changes:
                        record = json.loads(change.kv.value) if change.kv else None
                        key = change.key.removeprefix(PREFIX)
                        found.changes.append(Known(at=clock.wall(), key=key, record=record))
        finally:
            await store.close()

    task = loop.create_task(watch())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])), name="watch")
    thread.start()
    try:
        assert listens.wait(20.0), "etcd does not answer"
        yield found
        assert not task.done(), "it has seen everything"
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()
