"""The faults of the store in memory, on virtual time: what each client sees, and exactly when."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any

import pytest

from tests.support.virtual_time import run_virtual
from vmha.model.ids import Revision
from vmha.store.memory import MemoryEtcd
from vmha.store.memory_store import MemoryStore
from vmha.store.port import Ambiguous, Batch, Compacted, Created, LeaseGone, NoSpace, Put, Store, Unavailable

ZERO = Revision(0)


def on_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        run_virtual(test())

    return run


def now() -> float:
    return asyncio.get_running_loop().time()


async def error_of(call: Awaitable[object]) -> tuple[type[Exception], float]:
    """The error of a call, and how long it took."""
    start = now()
    with pytest.raises((Unavailable, Ambiguous)) as caught:
        await call
    return caught.type, round(now() - start, 3)


def two_clients() -> tuple[MemoryEtcd, MemoryStore, MemoryStore]:
    server = MemoryEtcd()
    return server, MemoryStore(server, "n1"), MemoryStore(server, "n2")


def test_the_twin_is_a_store() -> None:
    store: Store = MemoryStore(MemoryEtcd(), "n1")
    assert store.endpoint == "memory"


@on_virtual_time
async def test_call_takes_its_delay() -> None:
    server, store, _ = two_clients()
    start = now()
    await store.get("a")
    assert now() - start == pytest.approx(0.001)
    server.slow("n1", 0.5)
    await store.get("a")
    assert now() - start == pytest.approx(0.501)


@on_virtual_time
async def test_cut_client_times_out_and_others_go_on() -> None:
    server, store, other = two_clients()
    server.cut("n1")
    assert await error_of(store.get("a", timeout_s=2.0)) == (Unavailable, 2.0)
    assert await error_of(store.list("a", timeout_s=2.0)) == (Unavailable, 2.0)
    assert await error_of(store.keep_alive((await other.grant(60)).id)) == (Unavailable, 1.5)
    assert await error_of(store.txn([], [Put("a", b"")], timeout_s=2.0)) == (Ambiguous, 2.0)
    assert await error_of(store.txn([], [Put("a", b"")], timeout_s=2.0, idempotent=True)) == (Ambiguous, 2.0)
    assert await other.get("a") is None
    server.heal("n1")
    assert (await store.txn([], [Put("a", b"")])).succeeded


@on_virtual_time
async def test_call_that_waits_when_the_cut_heals_is_served() -> None:
    server, store, _ = two_clients()
    server.cut("n1")
    asyncio.get_running_loop().call_later(1.0, server.heal, "n1")
    start = now()
    assert (await store.txn([], [Put("a", b"")], timeout_s=3.0)).succeeded
    assert 1.0 <= now() - start < 1.1


@on_virtual_time
async def test_client_cut_off_before_the_answer_cannot_know_that_it_wrote() -> None:
    server, store, other = two_clients()
    server.slow("n1", 1.0)
    asyncio.get_running_loop().call_later(0.75, server.cut, "n1")
    assert await error_of(store.txn([], [Put("a", b"")], timeout_s=3.0)) == (Ambiguous, 3.0)
    assert await other.get("a") is not None


@on_virtual_time
async def test_stopped_store_is_surely_not_written_to() -> None:
    server, store, _ = two_clients()
    server.stop()
    assert await error_of(store.txn([], [Put("a", b"")], timeout_s=3.0)) == (Unavailable, 3.0)
    assert await error_of(store.get("a", timeout_s=3.0)) == (Unavailable, 3.0)
    server.start()
    assert await store.get("a") is None


@on_virtual_time
async def test_lost_answer_is_ambiguous_whether_done_or_not() -> None:
    server, store, _ = two_clients()
    for done in (True, False):
        server.lose_answer("n1", done=done)
        error, _ = await error_of(store.txn([], [Put(f"done {done}", b"")]))
        assert error is Ambiguous
    assert await store.get("done True") is not None
    assert await store.get("done False") is None


@on_virtual_time
async def test_repeated_write_meets_its_own_first_success() -> None:
    server, store, _ = two_clients()
    server.lose_answer("n1", done=True)
    result = await store.txn([Created("a", ZERO)], [Put("a", b"mine")], idempotent=True)
    assert not result.succeeded
    kv = result.found["a"]
    assert kv is not None
    assert kv.value == b"mine"


@on_virtual_time
async def test_full_store_reads_and_renews_but_takes_no_puts() -> None:
    server, store, _ = two_clients()
    lease = await store.grant(60)
    server.full = True
    with pytest.raises(NoSpace):
        await store.txn([], [Put("a", b"")])
    with pytest.raises(NoSpace):
        await store.grant(60)
    assert await store.get("a") is None
    assert await store.keep_alive(lease.id) == 60


@on_virtual_time
async def test_lease_expires_up_to_half_a_second_late_and_not_before() -> None:
    server, store, _ = two_clients()
    for offset_s in (0.0, 0.1, 0.3, 0.45):
        await asyncio.sleep(offset_s)
        lease = await store.grant(5)
        granted_at = now()
        await store.txn([], [Put("a", b"", lease.id)])
        async with aclosing(store.watch("a", start_revision=Revision(server.revision + 1))) as batches:
            await anext(batches)
        assert 5.0 - 0.001 <= now() - granted_at <= 5.0 + 0.5 + 0.001


@on_virtual_time
async def test_short_lease_is_raised_to_the_floor() -> None:
    store = MemoryStore(MemoryEtcd(min_ttl_s=3), "n1")
    assert (await store.grant(1)).ttl_s == 3


@on_virtual_time
async def test_cut_holder_loses_its_lease_while_a_connected_one_keeps_it() -> None:
    server, store, other = two_clients()
    mine, theirs = await store.grant(5), await other.grant(5)
    server.cut("n1")
    for _ in range(10):
        await asyncio.sleep(1.0)
        assert await other.keep_alive(theirs.id) == 5
    server.heal("n1")
    with pytest.raises(LeaseGone):
        await store.keep_alive(mine.id)


@on_virtual_time
async def test_no_lease_expires_during_an_outage_and_each_begins_anew_after_it() -> None:
    server, store, _ = two_clients()
    lease = await store.grant(5)
    await store.txn([], [Put("a", b"", lease.id)])
    server.stop()
    await asyncio.sleep(60.0)
    server.start()
    await asyncio.sleep(4.9)
    assert await store.get("a") is not None
    await asyncio.sleep(0.7)
    assert await store.get("a") is None


@on_virtual_time
async def test_no_lease_expires_while_leaders_are_elected_and_each_begins_anew_after_it() -> None:
    server, store, _ = two_clients()
    lease = await store.grant(5)
    await store.txn([], [Put("a", b"", lease.id)])
    server.elect(True)
    await asyncio.sleep(60.0)
    later = await store.grant(5)
    await store.txn([], [Put("b", b"", later.id)])
    assert await store.get("a") is not None
    await asyncio.sleep(10.0)
    server.elect(False)
    await asyncio.sleep(4.9)
    assert [kv.key for kv in (await store.list("")).items] == ["a", "b"]
    await asyncio.sleep(0.7)
    assert (await store.list("")).items == ()


@on_virtual_time
async def test_store_that_starts_during_elections_lets_no_lease_expire() -> None:
    server, store, _ = two_clients()
    lease = await store.grant(5)
    await store.txn([], [Put("a", b"", lease.id)])
    server.elect(True)
    server.stop()
    server.start()
    await asyncio.sleep(60.0)
    assert await store.get("a") is not None
    server.stop()
    server.elect(False)
    await asyncio.sleep(60.0)
    server.start()
    assert await store.get("a") is not None
    await asyncio.sleep(5.6)
    assert await store.get("a") is None


@on_virtual_time
async def test_lease_may_be_revoked_under_a_living_holder() -> None:
    server, store, _ = two_clients()
    lease = await store.grant(60)
    await store.txn([], [Put("a", b"", lease.id)])
    server.expire(lease.id)
    assert await store.get("a") is None
    with pytest.raises(LeaseGone):
        await store.keep_alive(lease.id)


@on_virtual_time
async def test_watch_is_silent_while_cut_and_catches_up_after() -> None:
    server, store, other = two_clients()
    start = await other.txn([], [Put("a", b"0")])
    seen: list[Batch] = []

    async def follow() -> None:
        async for batch in store.watch("", start_revision=start.revision):
            seen.append(batch)

    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(follow())
        await asyncio.sleep(0.1)
        server.cut("n1")
        for value in (b"1", b"2", b"3"):
            await other.txn([], [Put("a", value)])
        await asyncio.sleep(5.0)
        assert len(seen) == 1
        server.heal("n1")
        await asyncio.sleep(0.1)
        assert [batch.changes[0].kv and batch.changes[0].kv.value for batch in seen] == [b"0", b"1", b"2", b"3"]
        following.cancel()


@on_virtual_time
async def test_watch_that_stays_cut_gives_up() -> None:
    server, store, _ = two_clients()
    server.cut("n1")
    start = now()
    with pytest.raises(Unavailable):
        await anext(store.watch("", start_revision=Revision(1)))
    assert 10.0 <= now() - start < 10.1


@on_virtual_time
async def test_watch_cut_off_over_a_compaction_must_list_again() -> None:
    server, store, other = two_clients()
    start = await other.txn([], [Put("a", b"0")])
    async with aclosing(store.watch("", start_revision=start.revision)) as batches:
        await anext(batches)
        server.cut("n1")
        for _ in range(3):
            await other.txn([], [Put("a", b"")])
        server.compact()
        server.heal("n1")
        with pytest.raises(Compacted):
            await anext(batches)


@on_virtual_time
async def test_change_reaches_a_watch_after_the_clients_delay() -> None:
    server, store, other = two_clients()
    server.slow("n1", 0.2)
    start = await other.txn([], [Put("a", b"0")])
    async with aclosing(store.watch("", start_revision=Revision(start.revision + 1))) as batches:
        waiting = asyncio.create_task(anext(batches))
        await asyncio.sleep(1.0)
        await other.txn([], [Put("a", b"1")])
        committed_at = now()
        await waiting
    assert now() - committed_at == pytest.approx(0.2, abs=0.002)


def test_same_faults_replay_identically() -> None:
    async def story() -> list[tuple[float, str]]:
        server = MemoryEtcd()
        told: list[tuple[float, str]] = []

        async def node(name: str) -> None:
            store = MemoryStore(server, name)
            for count in range(20):
                try:
                    result = await store.txn([], [Put(name, b"%d" % count)], timeout_s=0.7)
                    told.append((now(), f"{name} {result.revision}"))
                except (Ambiguous, Unavailable) as error:
                    told.append((now(), f"{name} {error}"))
                await asyncio.sleep(0.1)

        async with asyncio.TaskGroup() as tasks:
            for name in ("n1", "n2", "n3"):
                tasks.create_task(node(name))
            await asyncio.sleep(0.5)
            server.cut("n2")
            server.lose_answer("n3", done=True)
            await asyncio.sleep(1.0)
            server.heal("n2")
            server.stop()
            await asyncio.sleep(1.0)
            server.start()
        return told

    first = run_virtual(story())
    assert len(first) == 60
    assert run_virtual(story()) == first
