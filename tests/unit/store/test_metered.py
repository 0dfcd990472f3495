"""A store whose calls are timed: what is answered is timed, what is not is counted, by kind."""

import asyncio

import pytest

from tests.support.worlds import Cluster, in_cluster
from vmha.model.histogram import Histogram
from vmha.model.ids import LeaseId
from vmha.store.memory_store import MemoryStore
from vmha.store.metered import Metered
from vmha.store.port import LeaseGone, Put, Unavailable


def test_answers_are_timed_refusals_among_them_and_silence_is_counted() -> None:
    async def scene(cluster: Cluster) -> None:
        store = Metered(MemoryStore(cluster.world.etcd, "n1"), cluster.world.clock)
        await store.get("x")
        await store.txn([], [Put("x", b"1")])
        with pytest.raises(LeaseGone):
            await store.keep_alive(LeaseId(12345))
        assert {call: took.count for call, took in store.took.items() if took.count} == {
            "get": 1,
            "txn": 1,
            "keep_alive": 1,
        }
        assert sum(store.unanswered.values()) == 0
        cluster.world.etcd.stop()
        with pytest.raises(Unavailable):
            await store.get("x", timeout_s=1.0)
        assert (store.took["get"].count, store.unanswered["get"]) == (1, 1)

    in_cluster(scene, nodes=1)


def test_a_call_that_its_caller_gives_up_says_nothing_about_the_store() -> None:
    async def scene(cluster: Cluster) -> None:
        store = Metered(MemoryStore(cluster.world.etcd, "n1"), cluster.world.clock)
        cluster.world.etcd.stop()
        asking = asyncio.create_task(store.get("x"))
        await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert (store.took["get"].count, store.unanswered["get"]) == (0, 0)

    in_cluster(scene, nodes=1)


def test_a_histogram_counts_each_value_in_all_buckets_that_hold_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 7.0, -1.0):
        histogram.note(value)
    assert histogram.cumulative() == [(1.0, 3), (2.0, 4), (float("inf"), 5)]
    assert (histogram.count, histogram.total) == (5, 10.0)
