"""What vmha needs of a store: etcd's key space with revisions, transactions, watches and leases.

Two adapters pass one contract suite: ``etcd.EtcdStore`` (the real thing) and ``memory.MemoryStore`` (its twin, for the
simulation and for tests). Every call returns or raises within its ``timeout_s``.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from vmha.model.errors import Broken, Refused, Rejected, Retryable
from vmha.model.ids import LeaseId, Revision
from vmha.model.store_health import StoreHealth

NO_LEASE: Final = LeaseId(0)
"""The lease of a key that has none."""


class Unavailable(Retryable):
    """Surely not done: no member answered in time, or the request was refused before it was proposed."""


class Ambiguous(Retryable):
    """A write that may or may not have been committed. Read again before concluding anything."""


class NoSpace(Retryable):
    """The store's space quota is used up: reads work, writes do not."""


class Compacted(Refused):
    """The revision asked for is no longer kept: list again."""


class LeaseGone(Refused):
    """The lease does not exist (any more)."""


class Denied(Rejected):
    """The store refuses this user or certificate."""


class WentBack(Broken):
    """The store is at a lower revision than one already seen: restored from a backup?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """One key at one revision. ``lease`` is 0 for a key without one."""

    key: str
    value: bytes
    create_revision: Revision
    mod_revision: Revision
    lease: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True)
class Created:
    """Holds when ``key`` was created at ``revision``; 0 means that it does not exist."""

    key: str
    revision: Revision


@dataclass(frozen=True, slots=True)
class Modified:
    """Holds when ``key`` was last changed at ``revision``; 0 means that it does not exist."""

    key: str
    revision: Revision


@dataclass(frozen=True, slots=True)
class Exists:
    """Holds when ``key`` exists."""

    key: str


@dataclass(frozen=True, slots=True)
class Settled:
    """Holds when no key that begins with ``key`` was written after ``revision``; a deletion is not noticed."""

    key: str
    revision: Revision


Compare = Created | Modified | Exists | Settled


@dataclass(frozen=True, slots=True)
class Put:
    """Write ``value``. The key is bound to ``lease`` (0 unbinds it: etcd does so too)."""

    key: str
    value: bytes
    lease: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True)
class Delete:
    key: str


Op = Put | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class TxnResult:
    """``found`` holds the compared keys as they are when the transaction did not succeed (None: absent)."""

    succeeded: bool
    revision: Revision
    found: dict[str, KeyValue | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All keys under a prefix, consistent at ``revision``."""

    revision: Revision
    items: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """``kv`` is None when the key was deleted."""

    key: str
    kv: KeyValue | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Everything that one revision changed: a transaction is never split over two batches."""

    revision: Revision
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """``ttl_s`` is what was granted, which is more than what was asked for when the store's floor is higher."""

    id: LeaseId
    ttl_s: int


class Store(Protocol):
    """The port. Raises the errors above and nothing of the client library."""

    @property
    def endpoint(self) -> str:
        """The member in use, for messages to people."""

    @property
    def cluster_id(self) -> str:
        """Which store it is, by its own word; '' before the first answer. A client that has had one keeps to it."""

    async def get(self, key: str, *, timeout_s: float = 5.0) -> KeyValue | None: ...

    async def list(self, prefix: str, *, without: str = "", timeout_s: float = 10.0) -> Listing:
        """Everything under ``prefix`` but what lies under ``without``, at one revision."""

    def pages(self, prefix: str, *, without: str = "", timeout_s: float = 10.0) -> AsyncGenerator[Listing, None]:
        """As ``list``, in parts, each given while the next is on its way: who takes them lets the loop have a turn now
        and then. All are of one revision. What is done with them does not count as time of the store.

        Raises:
            Compacted: that revision is not kept any more. What was given counts for nothing; begin anew.
        """

    async def txn(
        self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout_s: float = 3.0, idempotent: bool = False
    ) -> TxnResult:
        """All ``ops``, if all ``compares`` hold; else nothing.

        ``idempotent`` allows the request to be sent again to another member after an unclear answer; the caller then
        must be able to tell its own earlier success from somebody else's (see ``TxnResult.found``).

        Raises:
            Ambiguous: not idempotent, and the answer was lost.
            Unavailable: surely not done.
        """

    def watch(self, prefix: str, *, start_revision: Revision) -> AsyncIterator[Batch]:
        """Changes from ``start_revision`` on, over reconnects, in order, one revision at a time.

        Raises:
            Compacted: the start is no longer kept; list again.
            WentBack: the store's revision fell below what this watch has seen.
            Unavailable: no member has answered for a while.
        """

    async def grant(self, ttl_s: int, *, timeout_s: float = 3.0) -> Lease: ...

    async def keep_alive(self, lease: LeaseId, *, timeout_s: float = 1.5) -> int:
        """Renew once. Returns the granted time to live in seconds.

        Raises:
            LeaseGone: the store says so. Never a proof that the holder is dead (docs/explanation/safety.md).
        """

    async def revoke(self, lease: LeaseId, *, timeout_s: float = 3.0) -> None: ...

    async def alarms(self, *, timeout_s: float = 3.0) -> tuple[str, ...]:
        """What the store has raised an alarm for: ``NOSPACE`` (nothing can be written), ``CORRUPT``."""

    async def version(self, *, timeout_s: float = 3.0) -> str: ...

    async def health(self, *, timeout_s: float = 3.0) -> StoreHealth:
        """Each member by itself. A member that does not answer is told of, and is no error."""

    async def close(self) -> None: ...
