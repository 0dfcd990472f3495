"""Keeps the snapshot up to date, one changed key at a time: the cost of a change is that change.

A value that can not be read (put by hand with etcdctl, or written by a later version) is reported under ``problems``
and leaves the last good record in place; it never stops the cluster.
"""

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

from vmha.model.errors import Rejected
from vmha.model.holds import Hold
from vmha.model.ids import LeaseId, NodeName, RequestId, Revision, SessionId, VmName
from vmha.model.keys import Keys, decode, find_type, split_key
from vmha.model.records import (
    BeatRecord,
    FenceRecord,
    HistoryRecord,
    JournalEntry,
    LeaderRecord,
    NodeStatus,
    Observation,
    Outcome,
    RemovedVm,
    Request,
    Stored,
)
from vmha.model.rules import Rule
from vmha.model.schema import FIRST, ClusterSchema
from vmha.model.service import Service
from vmha.model.settings import ClusterConfig
from vmha.model.survival import SurvivalRecord
from vmha.model.vm import FailoverDomain
from vmha.policy.state.indexes import Indexes
from vmha.policy.state.snapshot import NodeView, Snapshot, VmView

K = TypeVar("K")
V = TypeVar("V")

_MADE_OF = frozenset({"spec", "session", "beat", "status"})
"""A node of which none is left is gone."""


class Assembler:
    """Takes decoded keys in, gives snapshots out. Snapshots share what did not change."""

    def __init__(self, keys: Keys) -> None:
        self._prefix = keys.prefix
        self._config = ClusterConfig()
        self._leader: Stored[LeaderRecord] | None = None
        self._schema: Stored[ClusterSchema] | None = None
        self._history: Stored[HistoryRecord] | None = None
        self._pause: Stored[Hold] | None = None
        self._survival: Stored[SurvivalRecord] | None = None
        self._frozen: _Book[VmName, Stored[Hold]] = _Book()
        self._domains: _Book[str, FailoverDomain] = _Book()
        self._rules: _Book[str, Rule] = _Book()
        self._services: _Book[str, Service] = _Book()
        self._nodes: _Book[NodeName, NodeView] = _Book()
        self._parts: dict[NodeName, dict[str, Stored[Any]]] = {}  # of nodes, as they came
        self._unseen: set[NodeName] = set()  # nodes whose parts have changed since somebody looked at the node
        self._vms: _Book[VmName, VmView] = _Book()
        self.indexes = Indexes()
        self._requests: _Book[RequestId, Request] = _Book()
        self._outcomes: _Book[RequestId, Outcome] = _Book()
        self._fenced: _Book[SessionId, FenceRecord] = _Book()
        self._fenced_at: _Book[SessionId, Revision] = _Book()
        self._removed: _Book[str, Stored[RemovedVm]] = _Book()
        self._problems: _Book[str, str] = _Book()

    def copy(self) -> "Assembler":
        """Another one that knows the same. What either is told from now on, the other does not show."""
        other = copy(self)
        for name, kept in vars(self).items():
            if isinstance(kept, _Book):
                setattr(other, name, kept.copy())
        other._parts = {node: dict(parts) for node, parts in self._parts.items()}
        other._unseen = set(self._unseen)
        other.indexes = self.indexes.copy()
        return other

    def put(self, key: str, value: bytes, *, created: Revision, modified: Revision, lease: LeaseId) -> Any | None:
        """Returns the decoded record, or None for a key that is not kept or a value that can not be read."""
        read = _read(self._prefix, key, value, created, modified, lease)
        if read.problem:
            self._problems.put(key, read.problem)
            return None
        if read.stored is None:
            return None
        if self._problems:
            self._problems.put(key, None)
        self._set(read.parts, read.stored)
        return read.stored.value

    def put_vm(self, view: VmView) -> None:
        """All that is about one vm, of which nothing is known yet."""
        if view.freeze is not None:
            self._frozen.put(view.name, view.freeze)
        self._keep_vm(view)

    def put_problem(self, key: str, why: str) -> None:
        """A value that can not be read."""
        self._problems.put(key, why)

    def delete(self, key: str) -> None:
        self._problems.put(key, None)
        parts = split_key(self._prefix, key)
        if find_type(parts) is not None:
            self._set(parts, None)

    def snapshot(self, revision: Revision) -> Snapshot:
        for name in sorted(self._unseen):
            self.node(name)
        return Snapshot(
            revision=revision,
            config=self._config,
            leader=self._leader,
            schema_record=self._schema,
            history=self._history,
            pause=self._pause,
            survival=self._survival,
            frozen=self._frozen.shown(),
            domains=self._domains.shown(),
            rules=self._rules.shown(),
            services=self._services.shown(),
            nodes=self._nodes.shown(),
            vms=self._vms.shown(),
            requests=self._requests.shown(),
            outcomes=self._outcomes.shown(),
            fenced=self._fenced.shown(),
            fenced_at=self._fenced_at.shown(),
            removed=self._removed.shown(),
            problems=self._problems.shown(),
        )

    @property
    def config(self) -> ClusterConfig:
        return self._config

    @property
    def leader(self) -> Stored[LeaderRecord] | None:
        return self._leader

    @property
    def schema(self) -> int:
        return self._schema.value.version if self._schema else FIRST

    @property
    def history(self) -> HistoryRecord | None:
        return self._history.value if self._history else None

    def node(self, name: NodeName) -> NodeView | None:
        if name in self._unseen:
            self._unseen.discard(name)
            parts = self._parts[name]
            self._nodes.put(name, NodeView(name=name, **parts) if parts.keys() & _MADE_OF else None)
        return self._nodes.get(name)

    def beat(self, name: NodeName) -> Stored[BeatRecord] | None:
        """Beats come all the time: asking for one makes no view of the node."""
        parts = self._parts.get(name)
        return parts.get("beat") if parts is not None else None

    def beats(self) -> Iterator[tuple[NodeName, BeatRecord]]:
        """In no order."""
        for name, parts in self._parts.items():
            if (beat := parts.get("beat")) is not None:
                yield name, beat.value

    def statuses(self) -> Iterator[NodeStatus]:
        """Of all nodes, in no order and likewise."""
        for parts in self._parts.values():
            if (status := parts.get("status")) is not None:
                yield status.value

    def vm(self, name: VmName) -> VmView | None:
        return self._vms.get(name)

    @property
    def vms(self) -> Mapping[VmName, VmView]:
        return self._vms.shown()

    @property
    def fenced(self) -> Mapping[SessionId, FenceRecord]:
        return self._fenced.shown()

    @property
    def problems(self) -> Mapping[str, str]:
        return self._problems.shown()

    @property
    def removed(self) -> Mapping[str, Stored[RemovedVm]]:
        return self._removed.shown()

    def _set(self, parts: tuple[str, ...], stored: Stored[Any] | None) -> None:
        value = stored.value if stored else None
        match parts:  # what changes most comes first
            case ("nodes", node, part):
                self._change_node(NodeName(node), part, stored)
            case ("nodes", node, "vms", vm):
                self._see(NodeName(node), VmName(vm), value)
            case ("vms", vm, part):
                self._change_vm(VmName(vm), part, stored)
                if part == "freeze":
                    self._frozen.put(VmName(vm), stored)
            case ("requests", request):
                self._requests.put(RequestId(request), value)
            case ("outcomes", request):
                self._outcomes.put(RequestId(request), value)
            case ("fencing", session):
                self._fenced.put(SessionId(session), value)
                self._fenced_at.put(SessionId(session), stored.created if stored else None)
            case ("removed", removal):
                self._removed.put(removal, stored)
                self.indexes.remove(removal, stored.created if stored else None)
            case ("leader",):
                self._leader = stored
            case ("schema",):
                self._schema = stored
            case ("history",):
                self._history = stored
            case ("config",):
                self._config = value or ClusterConfig()
            case ("pause",):
                self._pause = stored
            case ("survival",):
                self._survival = stored
            case ("domains", name):
                self._domains.put(name, value)
            case ("rules", name):
                self._rules.put(name, value)
            case ("services", name):
                self._services.put(name, value)
            case ("uuids", _) | ("hooks", _) | ("checkups", *_):
                pass  # nobody decides on it
            case _:
                assert value is None  # an entry of the journal that expired

    def _change_node(self, name: NodeName, part: str, stored: Stored[Any] | None) -> None:
        parts = self._parts.setdefault(name, {})
        if stored is None:
            parts.pop(part, None)
        else:
            parts[part] = stored
        self._unseen.add(name)  # every beat of every node comes by here, and few are looked at

    def _change_vm(self, name: VmName, part: str, stored: Stored[Any] | None) -> None:
        before = self._vms.get(name) or VmView(name=name)
        now: dict[str, Any] = {"spec": before.spec, "placement": before.placement, "freeze": before.freeze}
        now[part] = stored
        self._keep_vm(VmView(name=name, seen=before.seen, **now))

    def _see(self, node: NodeName, vm: VmName, observation: Observation | None) -> None:
        view = self._vms.get(vm) or VmView(name=vm)
        seen = {name: what for name, what in view.seen.items() if name != node}
        if observation is not None:
            seen[node] = observation
        seen = dict(sorted(seen.items()))
        self._keep_vm(VmView(name=vm, spec=view.spec, placement=view.placement, freeze=view.freeze, seen=seen))

    def _keep_vm(self, view: VmView) -> None:
        gone = view.spec is None and view.placement is None and view.freeze is None and not view.seen
        self.indexes.change(self._vms.get(view.name), None if gone else view)
        self._vms.put(view.name, None if gone else view)


def _belongs(parts: tuple[str, ...], record: Any) -> bool:
    """Does the record say the same as its key about whose it is? One put by hand may not."""
    match parts:
        case ("rules" | "services", name):
            return bool(record.name == name)
        case ("nodes", node, "vms", vm):
            return bool(record.node == node and record.vm == vm)
        case ("nodes", node, "spec"):
            return bool(record.name == node)
        case ("nodes", node, "session" | "status" | "fencing"):
            return bool(record.node == node)
        case ("vms", vm, "spec"):
            return bool(record.name == vm)
        case ("removed", removal):
            return bool(record.id == removal)
        case ("vms", vm, "placement"):
            return bool(record.vm == vm)
        case _:
            return True


def of_another(key: str) -> str:
    """What is wrong with the value."""
    return f"{key}: the record names another vm or node than its key"


@dataclass(frozen=True, slots=True)
class _Read:
    """One key understood: ``stored`` None and no ``problem``: a key that is not kept."""

    parts: tuple[str, ...]
    stored: Stored[Any] | None = None
    problem: str = ""


@lru_cache(maxsize=1024)
def _read(prefix: str, key: str, value: bytes, created: Revision, modified: Revision, lease: LeaseId) -> _Read:
    """Records are frozen: the same reading of the same key serves every listing, and every mirror of one process."""
    parts = split_key(prefix, key)
    kind = find_type(parts)
    if kind is None or kind is JournalEntry:  # the journal is read by listing, and there is much of it
        return _Read(parts)
    if not key.isascii():
        return _Read(parts)  # nothing of ours has such a name, and no record could say it
    try:
        record: Any = decode(kind, value, where=key)
    except Rejected as error:
        return _Read(parts, problem=str(error))
    if not _belongs(parts, record):
        return _Read(parts, problem=of_another(key))
    return _Read(parts, Stored(record, created, modified, lease))


class _Book(Generic[K, V]):
    """One mapping of the snapshot. What is shown is never changed: a copy, and another one only after a change."""

    __slots__ = ("_kept", "_shown")

    def __init__(self) -> None:
        self._kept: dict[K, V] = {}
        self._shown: dict[K, V] | None = None

    def __bool__(self) -> bool:
        return bool(self._kept)

    def get(self, key: K) -> V | None:
        return self._kept.get(key)

    def put(self, key: K, value: V | None) -> None:
        """None takes it away."""
        if value is not None:
            self._kept[key] = value
            self._shown = None
        elif self._kept.pop(key, None) is not None:
            self._shown = None

    def copy(self) -> "_Book[K, V]":
        other: _Book[K, V] = _Book()
        other._kept, other._shown = dict(self._kept), self._shown
        return other

    def shown(self) -> dict[K, V]:
        if self._shown is None:
            self._shown = dict(self._kept)
        return self._shown
