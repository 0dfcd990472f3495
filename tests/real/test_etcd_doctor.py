"""What a doctor finds about a real etcd that is not kept as it should be."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.support.etcd import RealEtcd
from vmha.model.clock import SystemClock
from vmha.model.keys import Keys
from vmha.operator.client import OperatorClient
from vmha.operator.doctor import diagnose
from vmha.policy.telling.doctor import Finding
from vmha.store.etcd import EtcdStore
from vmha.store.port import NoSpace, Put

pytestmark = pytest.mark.real

QUOTA_BYTES = 4 * 1024 * 1024


@pytest.fixture
def etcd() -> Iterator[RealEtcd]:
    with RealEtcd(options={"quota-backend-bytes": str(QUOTA_BYTES)}) as running:
        yield running


@asynccontextmanager
async def opened(etcd: RealEtcd, **options: int) -> AsyncIterator[EtcdStore]:
    store = EtcdStore(etcd.endpoints, **options)
    try:
        yield store
    finally:
        await store.close()


async def found(store: EtcdStore) -> dict[str, Finding]:
    """By kind, of this etcd, in which no cluster is."""
    client = OperatorClient(store, Keys("none"), SystemClock(), author="ann", new_id=lambda: "1")
    told = {one.kind: one for one in await diagnose(client)}
    return {kind: one for kind, one in told.items() if kind not in ("etcd-members", "no-leader")}


async def fill(store: EtcdStore) -> None:
    for _ in range(20):
        await store.txn([], [Put("/else/where", b"x" * 1_000_000)])


async def test_a_small_quota_an_alarm_and_what_fills_the_disk_are_found_and_gone_when_it_is_cured(
    etcd: RealEtcd,
) -> None:
    async with opened(etcd) as store:
        assert list(told := await found(store)) == ["etcd-quota"]
        said = f"etcd at {etcd.endpoints[0]} may hold 0.0 GB only, and etcd's own default is 2.1 GB"
        assert told["etcd-quota"].text == said
        with pytest.raises(NoSpace):
            await fill(store)
        told = await found(store)
        assert set(told) == {"etcd-alarm", "etcd-size", "etcd-quota"}
        assert told["etcd-alarm"].text == "etcd has raised the alarm NOSPACE"
        kv = await store.get("/else/where")
        assert kv is not None
        etcd.compact(kv.mod_revision)
        etcd.ctl("defrag")
        etcd.ctl("alarm", "disarm")
        assert list(await found(store)) == ["etcd-quota"]


async def test_history_that_nothing_compacts_is_found_and_no_more_when_something_has(etcd: RealEtcd) -> None:
    async with opened(etcd, long_history=100) as store:
        for number in range(90):
            await store.txn([], [Put("/else/where", b"%d" % number)])
        assert "etcd-no-compaction" not in await found(store)  # too young to tell
        for number in range(30):
            await store.txn([], [Put("/else/where", b"%d" % number)])
        assert "etcd-no-compaction" in await found(store)
        kv = await store.get("/else/where")
        assert kv is not None
        etcd.compact(kv.mod_revision)
        assert "etcd-no-compaction" not in await found(store)
