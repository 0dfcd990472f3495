"""The ports of the product, as the explorer plays them: every call is a question, and the explorer has the answer.

The product's coroutines run as they are. A question that others may step in before is left open: the coroutine is
dropped there, and begun again with the answers it has had so far when the next one is known. So a state needs to
remember no more of a running coroutine than its answers.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vmha.fencing.power import PowerOff
from vmha.hypervisor.port import DomainState, DomainView, Ending, HostCapacity, Tag
from vmha.model.ids import LeaseId, NodeName, Revision, SessionId, VmName
from vmha.model.records import BeatRecord, FenceRecord, RemovedVm, Stored
from vmha.policy.state.indexes import Indexes
from vmha.policy.state.snapshot import Snapshot, VmView
from vmha.store.port import Lease, Op, Store

from .values import NOW, UUID, VM


class Ask(NamedTuple):
    """One call of a port. Awaiting it hands it to whoever drives the coroutine."""

    what: str
    args: tuple[Any, ...] = ()

    def __await__(self) -> Generator["Ask", Any, Any]:
        answer = yield self
        if isinstance(answer, Exception):
            raise answer
        return answer


class Left(Exception):
    """Raised by an answering function: this question stays open."""


def drive(work: Coroutine[Any, Any, Any], answer: Callable[[Ask], Any]) -> tuple[Ask | None, Any]:
    """Run until a question is left open, or to the end: (the question, None) or (None, the result).

    Errors of the coroutine pass through.
    """
    _StandInLoop.enter()
    try:
        reply: Any = None
        while True:
            try:
                question = work.send(reply)
            except StopIteration as end:
                return None, end.value
            try:
                reply = answer(question or Ask("sleep"))
            except Left:
                return question or Ask("sleep"), None
    finally:
        work.close()
        _StandInLoop.leave()


class _StandInLoop:
    """Just enough of an event loop for ``asyncio.sleep`` and ``timeout``: a sleep is a question too."""

    _one: "_StandInLoop"

    @classmethod
    def enter(cls) -> None:
        asyncio._set_running_loop(cls._one)  # type: ignore[arg-type]

    @classmethod
    def leave(cls) -> None:
        asyncio._set_running_loop(None)

    def create_future(self) -> "_Slept":
        return _Slept()

    def call_later(self, delay: float, *_: Any, **__: Any) -> "_Slept":
        return _Slept()


class _Slept:
    def cancel(self) -> None: ...

    def __await__(self) -> Generator[Ask, Any, Any]:
        return (yield Ask("sleep"))


_StandInLoop._one = _StandInLoop()


class AskedClock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return NOW


class AskedStore(Store):
    endpoint = "model"
    cluster_id = "model"

    async def get(self, key: str, *, timeout_s: float = 5.0) -> Any:
        return await Ask("get", (key,))

    async def list(self, prefix: str, *, without: str = "", timeout_s: float = 10.0) -> Any:
        return await Ask("list", (prefix,))

    async def txn(
        self, compares: Sequence[Any], ops: Sequence[Op], *, timeout_s: float = 3.0, idempotent: bool = False
    ) -> Any:
        return await Ask("txn", (tuple(compares), tuple(ops)))

    async def grant(self, ttl_s: int, *, timeout_s: float = 3.0) -> Lease:
        return Lease(id=LeaseId(1), ttl_s=ttl_s)


class AskedGuard:
    async def arm(self, session: str, **how: Any) -> Any:
        return await Ask("arm", (session, how["hold_s"], how["kill_lead_s"], how["sent_at"]))

    async def beat(self, session: str, *, sent_at: float, **_: Any) -> Any:
        return await Ask("beat", (session, sent_at))

    async def expire(self, session: str, *, cause: str, **_: Any) -> Any:
        return await Ask("expire", (session,))

    async def status(self, **_: Any) -> Any:
        return await Ask("status")


class AskedHypervisor:
    """``tag``: the epoch of the guest that runs here; None: none does."""

    ways: Any = None  # nobody checks up

    async def inventory(self) -> Any:
        return await Ask("inventory")

    async def start(self, xml: str, *, timeout_s: float = 60.0) -> None:
        await Ask("start", (xml,))

    async def destroy(self, name: str, *, timeout_s: float = 30.0) -> None:
        await Ask("destroy")

    async def set_tag(self, name: str, tag: Tag | None) -> None:
        await Ask("set_tag", (tag.epoch if tag else None,))

    async def capacity(self) -> HostCapacity:
        return HostCapacity(memory_mib=0, vcpus=0, hypervisor="")

    def subscribe(self, listener: Any) -> None: ...

    def find_ending(self, name: str) -> Ending | None:
        return Ending.CRASHED

    async def recall_migration(self, name: str) -> str | None:
        return None  # nothing is migrated in these clusters


class AskedGate:
    """Notes the grant of the start that is under way."""

    def __init__(self) -> None:
        self.granted: tuple[int, str] | None = None

    async def list_managed(self, cluster: str, identities: Any) -> None: ...

    def grant(self, uuid: str, *, epoch: int, session: str) -> None:
        self.granted = (epoch, session)

    def withdraw(self, uuid: str) -> None:
        self.granted = None

    def clear(self) -> None:
        self.granted = None


class AskedPower:
    async def power_off(self, node: NodeName, devices: Any) -> PowerOff:
        return await Ask("power_off", (node,))


class StandingMirror:
    """A mirror that stands at one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def snapshot(self) -> Snapshot:
        return self._snapshot

    def subscribe(self, listener: Any) -> Callable[[], None]:
        return lambda: None

    @property
    def indexes(self) -> Indexes:
        return Indexes.of(self.snapshot().vms)

    @property
    def config(self) -> Any:
        return self.snapshot().config

    @property
    def leader(self) -> Any:
        return self.snapshot().leader

    @property
    def revision(self) -> Revision:
        return self.snapshot().revision

    @property
    def vms(self) -> Mapping[VmName, VmView]:
        return self.snapshot().vms

    def vm(self, name: VmName) -> VmView | None:
        return self.snapshot().vms.get(name)

    def beats(self) -> Iterator[tuple[NodeName, BeatRecord]]:
        return ((name, node.beat.value) for name, node in self.snapshot().nodes.items() if node.beat)

    @property
    def fenced(self) -> Mapping[SessionId, FenceRecord]:
        return self.snapshot().fenced

    @property
    def removed(self) -> Mapping[str, Stored[RemovedVm]]:
        return self.snapshot().removed

    @property
    def restored_as(self) -> str:
        history = self.snapshot().history
        return history.value.id if history else ""

    def silence_of(self, node: NodeName) -> float:
        return self.silence_s().get(node, 0.0)

    def silence_s(self) -> dict[NodeName, float]:
        return {}

    def unsettled_s(self) -> float:
        return 1000.0

    async def caught_up(self, revision: int, *, timeout_s: float = 2.0) -> bool:
        return True


def guest_view(epoch: int) -> tuple[DomainView, ...]:
    """What the hypervisor shows: the one guest under ``epoch``, or nothing (0)."""
    if not epoch:
        return ()
    tag = Tag(cluster="m", vm=VM, epoch=epoch)  # type: ignore[arg-type]
    return (DomainView(name=VM, uuid=UUID, state=DomainState.RUNNING, tag=tag),)
