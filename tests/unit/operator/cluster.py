"""A cluster of records in memory: what agents and a leader would have written, put there by hand."""

from typing import Any

from vmha.model.clock import SystemClock
from vmha.model.ids import Epoch, NodeName, Revision, SessionId, VmName
from vmha.model.keys import Keys, encode
from vmha.model.records import (
    ArmedLevel,
    BeatRecord,
    Candidate,
    JournalEntry,
    LeaderRecord,
    NodeStatus,
    Observation,
    Outcome,
    Phase,
    Placement,
    Progress,
    Reason,
    Request,
    SeenState,
    SessionRecord,
)
from vmha.operator.client import OperatorClient
from vmha.store.memory import MemoryEtcd
from vmha.store.memory_store import MemoryStore
from vmha.store.port import Delete, Put


def xml_of(name: str, *, uuid: str = "", memory_mib: int = 64) -> str:
    identity = f"\n  <uuid>{uuid}</uuid>" if uuid else ""
    memory = f"\n  <memory unit='MiB'>{memory_mib}</memory>"
    return f"<domain type='qemu'>\n  <name>{name}</name>{identity}{memory}\n</domain>\n"


class Cluster:
    """``etcd`` is the server, ``client`` the operator under test; the methods play agents and leader."""

    def __init__(self) -> None:
        self.etcd = MemoryEtcd()
        self.keys = Keys("test")
        self.client = self.new_client("operator")

    def new_client(self, name: str) -> OperatorClient:
        numbers = iter(range(1000))
        store = MemoryStore(self.etcd, name)
        return OperatorClient(store, self.keys, SystemClock(), author=name, new_id=lambda: f"{next(numbers):04d}")

    def put(self, key: str, record: Any) -> None:
        self.etcd.txn([], [Put(key, encode(record))])

    def put_raw(self, key: str, value: bytes) -> None:
        self.etcd.txn([], [Put(key, value)])

    def delete(self, key: str) -> None:
        self.etcd.txn([], [Delete(key)])

    def contents(self) -> dict[str, bytes]:
        return {kv.key: kv.value for kv in self.etcd.list("").items}

    def state(self) -> dict[str, bytes]:
        """All but the journal."""
        return {key: value for key, value in self.contents().items() if not key.startswith(self.keys.journal(""))}

    def elect(self, node: str = "h1") -> None:
        self.put(self.keys.leader, LeaderRecord(node=NodeName(node), session=SessionId(f"s-{node}"), since=1.0))

    def join(self, *nodes: str, memory_mib: int = 8000) -> None:
        for node in nodes:
            name, session = NodeName(node), SessionId(f"s-{node}")
            record = SessionRecord(node=name, session=session, since=1.0, version="0.1.0", address=f"{node}.example")
            self.put(self.keys.session(name), record)
            self.beat(node)
            status = NodeStatus(
                node=name,
                session=session,
                eligible=True,
                looked_for=Revision(10**9),  # it has looked for every vm there is
                armed=ArmedLevel.GUARD,
                memory_mib=memory_mib,
                vcpus=4,
                address=f"{node}.example",
            )
            self.put(self.keys.node_status(name), status)

    def beat(self, node: str, count: int = 1) -> None:
        record = BeatRecord(
            session=SessionId(f"s-{node}"),
            boot_id="boot",
            count=count,
            armed=ArmedLevel.GUARD,
            hold_s=10.0,
            dead_after_s=15.0,
        )
        self.put(self.keys.beat(NodeName(node)), record)

    def lose_lease(self, node: str) -> None:
        self.delete(self.keys.session(NodeName(node)))

    def place(self, vm: str, node: str | None, **fields: Any) -> None:
        """By default: held by the node's session, and chosen over h9, which was offline."""
        name = VmName(vm)
        reason = Reason(
            rule="wanted-running",
            text=f"it is wanted running; {node} is the only node that can take it",
            candidates=(
                Candidate(node=NodeName(node or ""), score=3),
                Candidate(node=NodeName("h9"), refusal="is offline"),
            ),
        )
        given: dict[str, Any] = {
            "epoch": Epoch(1),
            "phase": Phase.HELD if node else Phase.STOPPED,
            "node": NodeName(node) if node else None,
            "session": SessionId(f"s-{node}") if node else None,
            "reason": reason,
            "since": 1.0,
        }
        self.put(self.keys.placement(name), Placement(vm=name, **{**given, **fields}))

    def see(self, vm: str, node: str, state: SeenState = SeenState.RUNNING, **fields: Any) -> None:
        name, where = VmName(vm), NodeName(node)
        seen = Observation(vm=name, node=where, session=SessionId(f"s-{node}"), state=state, **fields)
        self.put(self.keys.observation(where, name), seen)

    def run(self, vm: str, node: str) -> None:
        self.place(vm, node)
        self.see(vm, node)

    def answer(self, request: Request, progress: Progress, text: str, **fields: Any) -> None:
        outcome = Outcome(request=request.id, progress=progress, text=text, at=1.0, **fields)
        self.put(self.keys.outcome(request.id), outcome)

    def tell(self, id: str, text: str, *, at: float = 1.0, vm: str | None = None) -> None:
        entry = JournalEntry(
            id=id, at=at, by=NodeName("h1"), kind="VmStarted", text=text, vm=VmName(vm) if vm else None
        )
        self.put(self.keys.journal(id), entry)
