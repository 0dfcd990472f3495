"""One reading of the cluster for all browsers: by watches, never by asking again and again.

Two tasks follow the cluster and its journal; a third makes a ``Scene`` of the newest reading, off the event loop, and
wakes everybody who waits. While it is being made older readings are passed over. When the store falls silent, the last
scene is shown on, and says since when it is old.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

import structlog

from vmha.model.errors import Retryable, VmhaError
from vmha.model.ids import NodeName
from vmha.model.records import JournalEntry
from vmha.operator.client import OperatorClient
from vmha.operator.overview import Overview, overview
from vmha.policy.state.snapshot import Snapshot

log = structlog.get_logger(__name__)

LEAST_PAUSE_S = 0.1
"""Between two scenes, however fast the cluster changes."""
WORDS_AGE_S = 1.0
"""What is said of fencing counts down: while anything is wrong the words are made anew, of what is known already."""
CALM_S = 15.0
JOURNAL_KEPT = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The cluster as everybody sees it now. ``number`` grows; ``journal`` is newest first.

    ``lost`` says why the store does not answer, '' while it does; ``current_at``: when it was last known to.
    ``heard``: when each node's newest beat was seen here; where it was there already when we came, when that was.
    """

    number: int
    wall: float
    cluster: str
    snapshot: Snapshot
    shown: Overview
    journal: tuple[JournalEntry, ...] = ()
    lost: str = ""
    current_at: float = 0.0
    heard: Mapping[NodeName, float] = field(default_factory=dict)


class Feed:
    """``run`` until cancelled; ``first`` and ``after`` give scenes."""

    def __init__(self, client: OperatorClient, *, in_thread: bool = True) -> None:
        self._client = client
        self._in_thread = in_thread
        self._snapshot: Snapshot | None = None
        self._journal: deque[JournalEntry] = deque(maxlen=JOURNAL_KEPT)
        self._lost = ""
        self._current_at = 0.0
        self._heard: dict[NodeName, float] = {}
        self._alarms: tuple[str, ...] = ()
        self._conditions: object = None
        self._news = asyncio.Event()
        self._scene: Scene | None = None
        self._made = asyncio.Condition()

    @property
    def scene(self) -> Scene | None:
        return self._scene

    @property
    def lost(self) -> str:
        return self._lost

    async def first(self, timeout_s: float) -> Scene | None:
        """The scene of now; None when the cluster has not been read for the first time within ``timeout_s``."""
        return self._scene or await self.after(0, timeout_s)

    async def after(self, number: int, timeout_s: float) -> Scene | None:
        """The newest scene once there is a later one than ``number``; None: nothing has changed for that long."""

        def is_later() -> bool:
            return self._scene is not None and self._scene.number > number

        try:
            async with asyncio.timeout(timeout_s), self._made:
                await self._made.wait_for(is_later)
        except TimeoutError:
            return None
        return self._scene

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow("the cluster", self._follow_cluster), name="follow the cluster")
            tasks.create_task(self._follow("the journal", self._follow_journal), name="follow the journal")
            tasks.create_task(self._make_scenes(), name="make scenes")

    async def _follow(self, what: str, once: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await once()
                pause_s = 1.0
            except VmhaError as error:
                pause_s = error.retry_after_s if isinstance(error, Retryable) else 1.0
                if self._lost != str(error):
                    log.warning("the store does not answer", following=what, why=str(error))
                self._lost = str(error)
                self._news.set()
            await asyncio.sleep(pause_s)

    async def _follow_cluster(self) -> None:
        async with aclosing(self._client.snapshots(on_beat=self._hear)) as snapshots:
            async for snapshot in snapshots:
                self._snapshot = snapshot
                self._lost = ""
                self._current_at = self._client.clock.wall()
                with_beat = [name for name, view in snapshot.nodes.items() if view.beat]
                self._heard = {name: self._heard.get(name, self._current_at) for name in with_beat}
                self._news.set()

    def _hear(self, node: NodeName) -> None:
        self._heard[node] = self._client.clock.wall()

    async def _follow_journal(self) -> None:
        entries, revision = await self._client.journal()
        self._journal = deque(entries, maxlen=JOURNAL_KEPT)
        self._news.set()
        async with aclosing(self._client.journal_follow(revision)) as following:
            async for entry in following:
                self._journal.append(entry)
                self._news.set()

    async def _make_scenes(self) -> None:
        while True:
            if self._snapshot is not None:
                await self._make(self._snapshot)
            calm = self._scene is None or not (self._scene.shown.warnings or self._scene.lost)
            try:
                # Not wait_for: Python 3.11's forgets that it was cancelled when there is news at that very moment.
                async with asyncio.timeout(CALM_S if calm else WORDS_AGE_S):
                    await self._news.wait()
            except TimeoutError:
                continue
            self._news.clear()

    async def _make(self, snapshot: Snapshot) -> None:
        began, before = self._client.clock.now(), self._scene
        if before is not None and before.snapshot is snapshot and not before.shown.warnings:
            shown = before.shown  # only the journal has news, or nothing has
        else:
            shown = await self._overview(snapshot)
        conditions = [(node.name, node.condition) for node in shown.nodes]
        if conditions != self._conditions and not self._lost:
            self._conditions = conditions
            alarms = await self._client.alarms()
            if alarms != self._alarms:
                self._alarms = alarms
                shown = await self._overview(snapshot)
        scene = Scene(
            number=before.number + 1 if before else 1,
            wall=self._client.clock.wall(),
            cluster=self._client.keys.cluster,
            snapshot=snapshot,
            shown=shown,
            journal=tuple(reversed(self._journal)),
            lost=self._lost,
            current_at=self._current_at,
            heard=dict(self._heard),
        )
        async with self._made:
            self._scene = scene
            self._made.notify_all()
        took_s = self._client.clock.now() - began
        await asyncio.sleep(max(LEAST_PAUSE_S, took_s))  # a large cluster leaves at least half of a processor free

    async def _overview(self, snapshot: Snapshot) -> Overview:
        clock, cluster, alarms = self._client.clock, self._client.keys.cluster, self._alarms
        wall, store_id = clock.wall(), self._client.store.cluster_id

        def look() -> Overview:
            return overview(snapshot, cluster=cluster, wall=wall, alarms=alarms, store_id=store_id, asks_survival=clock)

        return await asyncio.to_thread(look) if self._in_thread else look()
