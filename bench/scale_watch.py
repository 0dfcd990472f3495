"""A large cluster as its store tells of it: one watch, every write counted by what it is, each vm's last word kept.

A vm runs when its placement is held and its holder has seen it running under the same epoch.
"""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from vmha.model.clock import Clock
from vmha.model.ids import Revision
from vmha.model.keys import Keys
from vmha.store.port import Change, Store

ROUTINE = "beat"


def kind_of(parts: list[str]) -> str:
    """``beat``, ``status``, ``placement``, ``observation``, ``journal``, ...: a key's kind, from the key's parts."""
    match parts:
        case ["nodes", _, "vms", _]:
            return "observation"
        case ["nodes" | "vms", _, kind]:
            return kind
        case [kind, *_]:
            return kind
    return ""


@dataclass(slots=True)
class Watcher:
    """``follow`` keeps it up to date."""

    store: Store
    keys: Keys
    clock: Clock
    seen: Counter[str] = field(default_factory=Counter)
    last_deed_at: float = 0.0  # the last write that was no beat
    running: dict[str, tuple[str, int, float]] = field(default_factory=dict)  # vm -> node, epoch, since
    beats: Counter[str] = field(default_factory=Counter)
    online: set[str] = field(default_factory=set)  # nodes with a session that are ready for vms
    fenced: dict[str, str] = field(default_factory=dict)  # session -> node
    leaders: int = 0
    _placements: dict[str, Any] = field(default_factory=dict)
    _observations: dict[tuple[str, str], Any] = field(default_factory=dict)
    _sessions: set[str] = field(default_factory=set)
    _eligible: set[str] = field(default_factory=set)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, revision: Revision) -> None:
        async for batch in self.store.watch(self.keys.prefix, start_revision=revision):
            for change in batch.changes:
                self._take(change)
            self._moved.set()

    async def moves(self, within_s: float) -> None:
        """Until something was written."""
        self._moved.clear()
        try:
            async with asyncio.timeout(within_s):
                await self._moved.wait()
        except TimeoutError:
            pass

    def on(self, node: str) -> list[str]:
        """The vms whose placement names this node."""
        return [vm for vm, placed in self._placements.items() if placed.get("node") == node]

    def _take(self, change: Change) -> None:
        parts = change.key.removeprefix(self.keys.prefix).split("/")
        kind = kind_of(parts)
        self.seen[kind] += 1
        if kind == ROUTINE:
            self.beats[parts[1]] += 1
            return
        self.last_deed_at = self.clock.now()
        value = json.loads(change.kv.value) if change.kv else None
        match kind:
            case "session" | "status":
                self._count_online(parts[1], kind, value)
            case "placement":
                self._placements[parts[1]] = value or {}
                self._judge(parts[1])
            case "observation":
                self._observations[parts[3], parts[1]] = value or {}
                self._judge(parts[3])
            case "fencing" if parts[0] == "fencing" and value:
                self.fenced[parts[1]] = value["node"]
            case "leader" if value:
                self.leaders += 1

    def _count_online(self, node: str, kind: str, value: Any) -> None:
        which = self._sessions if kind == "session" else self._eligible
        good = value is not None and (kind == "session" or value.get("eligible", True))
        (which.add if good else which.discard)(node)
        self.online = self._sessions & self._eligible

    def _judge(self, vm: str) -> None:
        placed = self._placements.get(vm, {})
        node, epoch = placed.get("node"), placed.get("epoch")
        seen = self._observations.get((vm, node or ""), {})
        if placed.get("phase") != "held" or seen.get("state") != "running" or seen.get("epoch") != epoch:
            self.running.pop(vm, None)
        elif self.running.get(vm, ("", 0, 0.0))[:2] != (node, epoch):
            self.running[vm] = (node, epoch, self.clock.now())
