"""The two stores of the contract suite, real and in memory, the latter timed as well (store/metered.py).

Other suites here define a ``world`` of their own.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.support.etcd import RealEtcd
from vmha.model.clock import SystemClock
from vmha.model.ids import Revision
from vmha.store.etcd import EtcdStore
from vmha.store.memory import MemoryEtcd
from vmha.store.memory_store import MemoryStore
from vmha.store.metered import Metered


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreWorld:
    """A store, a prefix that no other test uses, and what only the world outside the port can do."""

    store: EtcdStore | MemoryStore | Metered
    prefix: str
    compact: Callable[[Revision], None]
    watchers: Callable[[], int] | None


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def real_etcd() -> Iterator[RealEtcd]:
    with RealEtcd() as etcd:
        yield etcd


@pytest_asyncio.fixture(params=["memory", "metered", pytest.param("etcd", marks=pytest.mark.real)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[StoreWorld]:
    prefix = f"/contract/{next(_numbers)}/"
    if request.param in ("memory", "metered"):
        server = MemoryEtcd(min_ttl_s=1)
        memory: MemoryStore | Metered = MemoryStore(server, "client")
        if request.param == "metered":
            memory = Metered(memory, SystemClock())
        yield StoreWorld(store=memory, prefix=prefix, compact=server.compact, watchers=None)
        await memory.close()
    else:
        etcd: RealEtcd = request.getfixturevalue("real_etcd")
        real = EtcdStore(etcd.endpoints)
        yield StoreWorld(store=real, prefix=prefix, compact=etcd.compact, watchers=lambda: etcd.watchers(0))
        await real.close()
