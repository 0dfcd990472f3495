"""The two stores of the contract suite, real and in memory. Other suites here define a ``world`` of their own."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.support.etcd import RealEtcd
from vmha.model.ids import Revision
from vmha.store.etcd import EtcdStore
from vmha.store.memory import MemoryEtcd
from vmha.store.memory_store import MemoryStore


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreWorld:
    """A store, a prefix that no other test uses, and what only the world outside the port can do."""

    store: EtcdStore | MemoryStore
    prefix: str
    compact: Callable[[Revision], None]
    watchers: Callable[[], int] | None


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def real_etcd() -> Iterator[RealEtcd]:
    with RealEtcd() as etcd:
        yield etcd


@pytest_asyncio.fixture(params=["memory", pytest.param("etcd", marks=pytest.mark.real)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[StoreWorld]:
    prefix = f"/contract/{next(_numbers)}/"
    if request.param == "memory":
        server = MemoryEtcd(min_ttl_s=1)
        memory = MemoryStore(server, "client")
        yield StoreWorld(store=memory, prefix=prefix, compact=server.compact, watchers=None)
        await memory.close()
    else:
        etcd: RealEtcd = request.getfixturevalue("real_etcd")
        real = EtcdStore(etcd.endpoints)
        yield StoreWorld(store=real, prefix=prefix, compact=etcd.compact, watchers=lambda: etcd.watchers(0))
        await real.close()
