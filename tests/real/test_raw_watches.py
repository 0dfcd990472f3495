"""The watches that ``bench.scale_watchers`` counts with: a real etcd tells them what it tells the product's client."""

from contextlib import closing

import pytest
from bench.raw_watches import RawWatches, messages

from tests.support.etcd import RealEtcd
from tests.support.waiting import eventually
from vmha.store import wire
from vmha.store.etcd import EtcdStore
from vmha.store.port import Put

pytestmark = pytest.mark.real

WRITTEN = {f"/vmha/x/{number:03}": b"v" * number for number in range(1, 200)}


async def test_every_raw_watch_is_told_every_change_and_a_neighbour_of_the_prefix_is_not() -> None:
    with RealEtcd() as etcd:
        store = EtcdStore(etcd.endpoints)
        with closing(RawWatches(etcd.endpoints[0], "/vmha/x/", count=3, start_revision=1)) as raw:
            raw.wait_opened()
            for key, value in WRITTEN.items():
                await store.txn([], [Put(key, value), Put(f"/vmha/y{key}", value)])
            read = b""

            async def have_come() -> bool:
                nonlocal read
                raw.take(but=0)
                read += raw.read(0)
                return _events(read) == WRITTEN and raw.told[1] == raw.told[2] == len(read)

            await eventually(have_come)
        await store.close()


def _events(stream: bytes) -> dict[str, bytes]:
    responses = [wire.WatchResponse.FromString(message) for message in messages(stream)]
    return {event.kv.key.decode(): event.kv.value for one in responses for event in one.events}
