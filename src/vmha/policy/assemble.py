"""Keeps the snapshot up to date, one changed key at a time: the cost of a change is that change.

A value that can not be read (put by hand with etcdctl, or written by a later version) is reported under ``problems``
and leaves the last good record in place; it never stops the cluster.
"""

from dataclasses import fields, replace
from typing import Any

from vmha.model.errors import Rejected
from vmha.model.ids import LeaseId, NodeName, RequestId, Revision, SessionId, VmName
from vmha.model.keys import Keys, decode, find_type, split_key
from vmha.model.records import (
    FenceRecord,
    HistoryRecord,
    JournalEntry,
    LeaderRecord,
    Observation,
    Outcome,
    Request,
    Stored,
)
from vmha.model.settings import ClusterConfig
from vmha.model.vm import FailoverDomain
from vmha.policy.snapshot import NodeView, Snapshot, VmView

_NODE_PARTS = tuple(field.name for field in fields(NodeView) if field.name != "name")


class Assembler:
    """Takes decoded keys in, gives snapshots out. Snapshots share what did not change."""

    def __init__(self, keys: Keys) -> None:
        self._prefix = keys.prefix
        self._config = ClusterConfig()
        self._leader: Stored[LeaderRecord] | None = None
        self._history: Stored[HistoryRecord] | None = None
        self._domains: dict[str, FailoverDomain] = {}
        self._nodes: dict[NodeName, NodeView] = {}
        self._vms: dict[VmName, VmView] = {}
        self._requests: dict[RequestId, Request] = {}
        self._outcomes: dict[RequestId, Outcome] = {}
        self._fenced: dict[SessionId, FenceRecord] = {}
        self._problems: dict[str, str] = {}

    def put(self, key: str, value: bytes, *, created: Revision, modified: Revision, lease: LeaseId) -> Any | None:
        """Returns the decoded record, or None for a key that is not kept or a value that can not be read."""
        parts = self._parts(key)
        kind = find_type(parts)
        if kind is None or kind is JournalEntry:  # the journal is read by listing, and there is much of it
            return None
        try:
            record: Any = decode(kind, value, where=key)
        except Rejected as error:
            self._problems[key] = str(error)
            return None
        if not _belongs(parts, record):
            self._problems[key] = f"{key}: the record names another vm or node than its key"
            return None
        self._problems.pop(key, None)
        self._set(parts, Stored(record, created, modified, lease))
        return record

    def delete(self, key: str) -> None:
        self._problems.pop(key, None)
        parts = self._parts(key)
        if find_type(parts) is not None:
            self._set(parts, None)

    def snapshot(self, revision: Revision) -> Snapshot:
        return Snapshot(
            revision=revision,
            config=self._config,
            leader=self._leader,
            history=self._history,
            domains=dict(self._domains),
            nodes=dict(self._nodes),
            vms=dict(self._vms),
            requests=dict(self._requests),
            outcomes=dict(self._outcomes),
            fenced=dict(self._fenced),
            problems=dict(self._problems),
        )

    @property
    def config(self) -> ClusterConfig:
        return self._config

    @property
    def history(self) -> HistoryRecord | None:
        return self._history.value if self._history else None

    def node(self, name: NodeName) -> NodeView | None:
        return self._nodes.get(name)

    def vm(self, name: VmName) -> VmView | None:
        return self._vms.get(name)

    def _parts(self, key: str) -> tuple[str, ...]:
        return split_key(self._prefix, key)

    def _set(self, parts: tuple[str, ...], stored: Stored[Any] | None) -> None:
        value = stored.value if stored else None
        match parts:
            case ("config",):
                self._config = value or ClusterConfig()
            case ("leader",):
                self._leader = stored
            case ("history",):
                self._history = stored
            case ("domains", name):
                _put_or_drop(self._domains, name, value)
            case ("nodes", node, "vms", vm):
                self._see(NodeName(node), VmName(vm), value)
            case ("nodes", node, part):
                self._change_node(NodeName(node), part, stored)
            case ("vms", vm, part):
                self._change_vm(VmName(vm), part, stored)
            case ("uuids", _):
                pass  # only compared by those who write it
            case ("requests", request):
                _put_or_drop(self._requests, RequestId(request), value)
            case ("outcomes", request):
                _put_or_drop(self._outcomes, RequestId(request), value)
            case ("fencing", session):
                _put_or_drop(self._fenced, SessionId(session), value)
            case _:
                assert value is None  # an entry of the journal that expired

    def _change_node(self, name: NodeName, part: str, stored: Stored[Any] | None) -> None:
        view = NodeView(name=name, **{**self._parts_of(name), part: stored})  # every beat of every node comes by here
        gone = view.spec is None and view.session is None and view.beat is None and view.status is None
        _put_or_drop(self._nodes, name, None if gone else view)

    def _parts_of(self, name: NodeName) -> dict[str, Any]:
        before = self._nodes.get(name)
        return {part: getattr(before, part) for part in _NODE_PARTS} if before is not None else {}

    def _change_vm(self, name: VmName, part: str, stored: Stored[Any] | None) -> None:
        change: dict[str, Any] = {part: stored}
        self._keep_vm(replace(self._vms.get(name) or VmView(name=name), **change))

    def _see(self, node: NodeName, vm: VmName, observation: Observation | None) -> None:
        view = self._vms.get(vm) or VmView(name=vm)
        seen = {name: what for name, what in view.seen.items() if name != node}
        if observation is not None:
            seen[node] = observation
        self._keep_vm(replace(view, seen=dict(sorted(seen.items()))))

    def _keep_vm(self, view: VmView) -> None:
        gone = view.spec is None and view.placement is None and not view.seen
        _put_or_drop(self._vms, view.name, None if gone else view)


def _belongs(parts: tuple[str, ...], record: Any) -> bool:
    """Does the record say the same as its key about whose it is? One put by hand may not."""
    match parts:
        case ("nodes", node, "vms", vm):
            return bool(record.node == node and record.vm == vm)
        case ("nodes", node, "spec"):
            return bool(record.name == node)
        case ("nodes", node, "session" | "status" | "fencing"):
            return bool(record.node == node)
        case ("vms", vm, "spec"):
            return bool(record.name == vm)
        case ("vms", vm, "placement"):
            return bool(record.vm == vm)
        case _:
            return True


def _put_or_drop(book: dict[Any, Any], key: Any, value: Any | None) -> None:
    if value is None:
        book.pop(key, None)
    else:
        book[key] = value
