"""What both adapters of the store port must do: one suite, the real etcd and its twin in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from tests.contract.conftest import StoreWorld
from tests.support.until import until
from vmha.model.errors import Rejected
from vmha.model.ids import LeaseId, Revision
from vmha.store.port import (
    NO_LEASE,
    Batch,
    Change,
    Compacted,
    Created,
    Delete,
    Exists,
    LeaseGone,
    Modified,
    Put,
    Store,
    TxnResult,
    Unavailable,
    WentBack,
)

NOBODYS_LEASE = LeaseId(0x7FFF_0000_1234)
DEADLINE_S = 60.0


async def put(store: Store, key: str, value: bytes = b"v", lease: LeaseId = NO_LEASE) -> TxnResult:
    result = await store.txn([], [Put(key, value, lease)])
    assert result.succeeded
    return result


async def take(batches: AsyncIterator[Batch], count: int) -> list[Batch]:
    """The next ``count`` batches."""
    async with asyncio.timeout(DEADLINE_S):
        return [await anext(batches) for _ in range(count)]


def start_after(result: TxnResult) -> Revision:
    return Revision(result.revision + 1)


# --- reading


async def test_absent_key_reads_as_none(world: StoreWorld) -> None:
    assert await world.store.get(world.prefix + "absent") is None


async def test_key_reads_as_written_with_its_revisions(world: StoreWorld) -> None:
    key = world.prefix + "ключ"
    first = await put(world.store, key, b"\x00\xff one")
    second = await put(world.store, key, b"two")
    kv = await world.store.get(key)
    assert kv is not None
    assert (kv.key, kv.value, kv.lease) == (key, b"two", NO_LEASE)
    assert (kv.create_revision, kv.mod_revision) == (first.revision, second.revision)


async def test_listing_holds_the_prefix_and_nothing_beside_it(world: StoreWorld) -> None:
    inside = [world.prefix + "vm/", world.prefix + "vm/a", world.prefix + "vm/b"]
    outside = [world.prefix + "vm", world.prefix + "vm0", world.prefix + "vmlinuz", world.prefix + "vl/z"]
    for key in reversed(inside + outside):
        last = await put(world.store, key)
    listing = await world.store.list(world.prefix + "vm/")
    assert [kv.key for kv in listing.items] == inside
    assert listing.revision >= last.revision


async def test_listing_leaves_out_what_it_is_told_to_and_nothing_beside_it(world: StoreWorld) -> None:
    inside = [world.prefix + "vm/" + name for name in ("a", "j", "j.", "j0", "k/j/1", "z")]
    left_out = [world.prefix + "vm/j/" + name for name in ("", "1", "2/3", "\u0444")]
    beside = [world.prefix + "vm", world.prefix + "vm0"]
    for key in inside + left_out + beside:
        await put(world.store, key)
    listing = await world.store.list(world.prefix + "vm/", without=world.prefix + "vm/j/")
    assert [kv.key for kv in listing.items] == sorted(inside)
    assert [kv.key for kv in (await world.store.list(world.prefix + "vm/", without=world.prefix + "vm/y/")).items] == (
        sorted(inside + left_out)
    )


async def test_listing_of_nothing_still_says_its_revision(world: StoreWorld) -> None:
    last = await put(world.store, world.prefix + "beside")
    listing = await world.store.list(world.prefix + "empty/")
    assert listing.items == ()
    assert listing.revision >= last.revision


# --- transactions


async def test_created_zero_holds_only_while_the_key_is_absent(world: StoreWorld) -> None:
    key = world.prefix + "leader"
    won = await world.store.txn([Created(key, Revision(0))], [Put(key, b"first")])
    lost = await world.store.txn([Created(key, Revision(0))], [Put(key, b"second")])
    assert (won.succeeded, lost.succeeded) == (True, False)
    kv = await world.store.get(key)
    assert kv is not None
    assert kv.value == b"first"
    assert won.found == {}
    assert lost.found == {key: kv}


async def test_created_tells_a_key_from_its_successor_of_the_same_name(world: StoreWorld) -> None:
    key = world.prefix + "session"
    first = await put(world.store, key)
    await world.store.txn([], [Delete(key)])
    await put(world.store, key)
    stale = await world.store.txn([Created(key, first.revision)], [Put(key, b"stale")])
    assert not stale.succeeded


async def test_modified_holds_until_the_next_write(world: StoreWorld) -> None:
    key = world.prefix + "placement"
    assert (await world.store.txn([Modified(key, Revision(0))], [Put(key, b"1")])).succeeded
    kv = await world.store.get(key)
    assert kv is not None
    assert (await world.store.txn([Modified(key, kv.mod_revision)], [Put(key, b"2")])).succeeded
    assert not (await world.store.txn([Modified(key, kv.mod_revision)], [Put(key, b"3")])).succeeded
    assert not (await world.store.txn([Modified(key, Revision(0))], [Put(key, b"4")])).succeeded


async def test_exists_holds_only_while_the_key_is_there(world: StoreWorld) -> None:
    key, other = world.prefix + "guard", world.prefix + "other"
    assert not (await world.store.txn([Exists(key)], [Put(other, b"")])).succeeded
    await put(world.store, key)
    assert (await world.store.txn([Exists(key)], [Put(other, b"")])).succeeded
    await world.store.txn([], [Delete(key)])
    assert not (await world.store.txn([Exists(key)], [Put(other, b"")])).succeeded


async def test_lost_transaction_changes_nothing_and_shows_what_it_met(world: StoreWorld) -> None:
    here, absent, target = (world.prefix + name for name in ("here", "absent", "target"))
    before = await put(world.store, here, b"x")
    lost = await world.store.txn(
        [Exists(here), Exists(absent), Modified(here, Revision(1))], [Put(target, b""), Delete(here)]
    )
    assert not lost.succeeded
    kv = await world.store.get(here)
    assert lost.found == {here: kv, absent: None}
    assert lost.revision == before.revision
    assert await world.store.get(target) is None


async def test_transaction_is_one_revision(world: StoreWorld) -> None:
    one, two, gone = (world.prefix + name for name in ("one", "two", "gone"))
    await put(world.store, gone)
    done = await world.store.txn([], [Put(one, b"1"), Put(two, b"2"), Delete(gone)])
    first, second = await world.store.get(one), await world.store.get(two)
    assert first is not None
    assert second is not None
    assert first.mod_revision == second.mod_revision == done.revision
    assert await world.store.get(gone) is None


async def test_transaction_that_changes_nothing_makes_no_revision(world: StoreWorld) -> None:
    before = await put(world.store, world.prefix + "a")
    compare_only = await world.store.txn([Exists(world.prefix + "a")], [])
    delete_of_nothing = await world.store.txn([], [Delete(world.prefix + "absent")])
    assert compare_only.succeeded
    assert delete_of_nothing.succeeded
    assert compare_only.revision == delete_of_nothing.revision == before.revision


@pytest.mark.parametrize(
    "ops",
    [
        [Put(f"{at}", b"") for at in range(129)],
        [Put("twice", b"1"), Put("twice", b"2")],
        [Put("twice", b"1"), Delete("twice")],
        [Put("large", b"x" * 1_600_000)],
    ],
    ids=["too many", "put twice", "put and deleted", "too large"],
)
async def test_impossible_transaction_is_rejected_and_changes_nothing(
    world: StoreWorld, ops: list[Put | Delete]
) -> None:
    before = await put(world.store, world.prefix + "a")
    with pytest.raises(Rejected):
        await world.store.txn([], ops)
    assert (await world.store.list(world.prefix)).revision == before.revision


async def test_twenty_tasks_that_compare_and_set_one_counter_lose_no_increment(world: StoreWorld) -> None:
    key = world.prefix + "counter"
    await put(world.store, key, b"0")

    async def increment() -> None:
        while True:
            kv = await world.store.get(key)
            assert kv is not None
            wish = Put(key, b"%d" % (int(kv.value) + 1))
            if (await world.store.txn([Modified(key, kv.mod_revision)], [wish])).succeeded:
                return

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(increment())
    kv = await world.store.get(key)
    assert kv is not None
    assert kv.value == b"20"


async def test_repeatable_transaction_works_like_any_other(world: StoreWorld) -> None:
    key = world.prefix + "beat"
    assert (await world.store.txn([Created(key, Revision(0))], [Put(key, b"1")], idempotent=True)).succeeded
    lost = await world.store.txn([Created(key, Revision(0))], [Put(key, b"2")], idempotent=True)
    kv = lost.found[key]
    assert kv is not None
    assert kv.value == b"1"


# --- leases


async def test_granted_lease_says_its_time_to_live(world: StoreWorld) -> None:
    lease = await world.store.grant(30)
    assert lease.ttl_s == 30
    assert await world.store.keep_alive(lease.id) == 30
    await world.store.revoke(lease.id)


async def test_lease_shorter_than_the_floor_gets_the_floor(world: StoreWorld) -> None:
    lease = await world.store.grant(0 + 1)
    assert lease.ttl_s >= 1
    assert await world.store.keep_alive(lease.id) == lease.ttl_s


async def test_key_is_bound_to_its_lease_and_a_put_without_one_unbinds_it(world: StoreWorld) -> None:
    kept, lost = world.prefix + "kept", world.prefix + "lost"
    lease = await world.store.grant(30)
    for key in (kept, lost):
        await put(world.store, key, b"bound", lease.id)
    kv = await world.store.get(kept)
    assert kv is not None
    assert kv.lease == lease.id
    await put(world.store, kept, b"unbound")
    await world.store.revoke(lease.id)
    kv = await world.store.get(kept)
    assert kv is not None
    assert kv.lease == NO_LEASE
    assert await world.store.get(lost) is None


async def test_key_goes_with_the_lease_it_was_last_bound_to(world: StoreWorld) -> None:
    key = world.prefix + "moved"
    first, second = await world.store.grant(30), await world.store.grant(30)
    await put(world.store, key, b"", first.id)
    await put(world.store, key, b"", second.id)
    await world.store.revoke(first.id)
    assert await world.store.get(key) is not None
    await world.store.revoke(second.id)
    assert await world.store.get(key) is None


async def test_expired_lease_takes_all_its_keys_in_one_revision(world: StoreWorld) -> None:
    lease = await world.store.grant(1)
    keys = [f"{world.prefix}{name}" for name in ("a", "b", "c")]
    done = await world.store.txn([], [Put(key, b"", lease.id) for key in reversed(keys)])
    async with aclosing(world.store.watch(world.prefix, start_revision=start_after(done))) as batches:
        (batch,) = await take(batches, 1)
    assert batch.changes == tuple(Change(key, None) for key in keys)
    with pytest.raises(LeaseGone):
        await world.store.keep_alive(lease.id)


async def test_renewed_lease_outlives_its_time(world: StoreWorld) -> None:
    """If it was renewed in time: a process that stood still for too long tries once more."""
    now = asyncio.get_running_loop().time

    async def has_outlived_it() -> bool:
        renewed_at, renewed, left = now(), await world.store.grant(1), await world.store.grant(1)
        try:
            for name, lease in (("renewed", renewed), ("left", left)):
                await put(world.store, world.prefix + name, b"", lease.id)
            while await world.store.get(world.prefix + "left") is not None:
                renewed_at, _ = now(), await world.store.keep_alive(renewed.id)
            outlived = await world.store.get(world.prefix + "renewed") is not None
        except LeaseGone:
            outlived = False
        assert outlived or now() - renewed_at >= 1.0
        return outlived

    await until(has_outlived_it, timeout_s=DEADLINE_S)


async def test_many_renewals_at_once_are_all_answered(world: StoreWorld) -> None:
    leases = [await world.store.grant(30 + at) for at in range(10)]
    answers = await asyncio.gather(*(world.store.keep_alive(lease.id) for lease in leases))
    assert answers == [lease.ttl_s for lease in leases]
    for lease in leases:
        await world.store.revoke(lease.id)


async def test_lease_that_is_gone_refuses_renewal_and_puts(world: StoreWorld) -> None:
    key = world.prefix + "a"
    with pytest.raises(LeaseGone):
        await world.store.keep_alive(NOBODYS_LEASE)
    with pytest.raises(LeaseGone):
        await world.store.txn([], [Put(world.prefix + "b", b""), Put(key, b"", NOBODYS_LEASE)])
    assert (await world.store.list(world.prefix)).items == ()
    lost = await world.store.txn([Exists(key)], [Put(key, b"", NOBODYS_LEASE)])
    assert not lost.succeeded


async def test_revoking_a_lease_that_is_gone_is_no_error(world: StoreWorld) -> None:
    lease = await world.store.grant(30)
    await world.store.revoke(lease.id)
    await world.store.revoke(lease.id)
    with pytest.raises(LeaseGone):
        await world.store.keep_alive(lease.id)


# --- watches


async def test_watch_from_the_past_gets_every_transaction_as_one_batch(world: StoreWorld) -> None:
    a, b = world.prefix + "a", world.prefix + "b"
    first = await world.store.txn([], [Put(a, b"1"), Put(b, b"1")])
    second = await put(world.store, a, b"2")
    third = await world.store.txn([], [Put(b, b"3"), Delete(a)])
    async with aclosing(world.store.watch(world.prefix, start_revision=first.revision)) as batches:
        seen = await take(batches, 3)
        fourth = await put(world.store, a, b"4")
        seen += await take(batches, 1)
    assert [batch.revision for batch in seen] == [first.revision, second.revision, third.revision, fourth.revision]
    kv = await world.store.get(b)
    assert seen[2].changes == (Change(b, kv), Change(a, None))
    values = [[change.kv.value for change in batch.changes if change.kv] for batch in seen]
    assert values == [[b"1", b"1"], [b"2"], [b"3"], [b"4"]]


async def test_watch_starts_exactly_at_its_revision(world: StoreWorld) -> None:
    await put(world.store, world.prefix + "a", b"before")
    second = await put(world.store, world.prefix + "a", b"start")
    async with aclosing(world.store.watch(world.prefix, start_revision=second.revision)) as batches:
        (batch,) = await take(batches, 1)
    assert batch.revision == second.revision


async def test_watch_sees_its_prefix_only(world: StoreWorld) -> None:
    start = await put(world.store, world.prefix + "vm")
    await world.store.txn([], [Put(world.prefix + "vm/a", b""), Put(world.prefix + "vm0", b"")])
    await put(world.store, world.prefix + "vn")
    await put(world.store, world.prefix + "vm/z")
    async with aclosing(world.store.watch(world.prefix + "vm/", start_revision=start.revision)) as batches:
        seen = await take(batches, 2)
    assert [[change.key for change in batch.changes] for batch in seen] == [
        [world.prefix + "vm/a"],
        [world.prefix + "vm/z"],
    ]


async def test_watch_carries_the_whole_key_with_lease_and_revisions(world: StoreWorld) -> None:
    lease = await world.store.grant(30)
    done = await put(world.store, world.prefix + "a", b"x", lease.id)
    async with aclosing(world.store.watch(world.prefix, start_revision=done.revision)) as batches:
        (batch,) = await take(batches, 1)
    assert batch.changes == (Change(world.prefix + "a", await world.store.get(world.prefix + "a")),)
    await world.store.revoke(lease.id)


async def test_two_watches_see_the_same_in_the_same_order(world: StoreWorld) -> None:
    start = await put(world.store, world.prefix + "0")

    async def read_all() -> list[Batch]:
        async with aclosing(world.store.watch(world.prefix, start_revision=start_after(start))) as batches:
            return await take(batches, 40)

    async def write(name: str) -> None:
        for at in range(10):
            await put(world.store, f"{world.prefix}{name}", b"%d" % at)

    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        readers = [tasks.create_task(read_all()) for _ in range(2)]
        for name in "abcd":
            tasks.create_task(write(name))
    one, other = (reader.result() for reader in readers)
    assert one == other
    assert [batch.revision for batch in one] == sorted({batch.revision for batch in one})


async def test_watch_from_a_compacted_revision_says_so(world: StoreWorld) -> None:
    first = await put(world.store, world.prefix + "a", b"1")
    for at in range(5):
        last = await put(world.store, world.prefix + "a", b"%d" % at)
    world.compact(last.revision)
    async with aclosing(world.store.watch(world.prefix, start_revision=first.revision)) as batches:
        with pytest.raises(Compacted):
            await take(batches, 1)


async def test_watch_survives_a_compaction_of_what_it_has_seen(world: StoreWorld) -> None:
    first = await put(world.store, world.prefix + "a", b"1")
    async with aclosing(world.store.watch(world.prefix, start_revision=first.revision)) as batches:
        await take(batches, 1)
        last = await put(world.store, world.prefix + "a", b"2")
        await take(batches, 1)
        world.compact(last.revision)
        after = await put(world.store, world.prefix + "a", b"3")
        (batch,) = await take(batches, 1)
    assert batch.revision == after.revision


async def test_watch_of_a_store_below_what_was_seen_says_that_it_went_back(world: StoreWorld) -> None:
    now = await put(world.store, world.prefix + "a")
    async with aclosing(world.store.watch(world.prefix, start_revision=Revision(now.revision + 1000))) as batches:
        with pytest.raises(WentBack, match=str(now.revision + 999)):
            await take(batches, 1)


# --- leaving


async def test_cancelled_calls_and_watches_leave_nothing_behind(world: StoreWorld) -> None:
    start = await put(world.store, world.prefix + "a")
    lease = await world.store.grant(30)
    await world.store.keep_alive(lease.id)  # a client may keep one stream for renewals
    before = len(asyncio.all_tasks())

    async def read_watch(ready: asyncio.Event) -> None:
        async for _ in world.store.watch(world.prefix, start_revision=start.revision):
            ready.set()

    for _ in range(5):
        ready = asyncio.Event()
        watching = asyncio.create_task(read_watch(ready))
        calls: list[asyncio.Task[object]] = [
            asyncio.create_task(world.store.list(world.prefix)),
            asyncio.create_task(world.store.keep_alive(lease.id)),
            asyncio.create_task(world.store.txn([], [Put(world.prefix + "b", b"")])),
        ]
        async with asyncio.timeout(DEADLINE_S):
            await ready.wait()
        for task in [watching, *calls]:
            task.cancel()
        await asyncio.gather(watching, *calls, return_exceptions=True)

    def nothing_is_left() -> bool:
        return len(asyncio.all_tasks()) <= before and (world.watchers is None or world.watchers() == 0)

    await until(nothing_is_left, what="tasks and watchers of calls that were called off end", timeout_s=DEADLINE_S)
    assert await world.store.keep_alive(lease.id) == 30
    await world.store.revoke(lease.id)


async def test_closed_store_ends_its_watches_and_refuses_calls(world: StoreWorld) -> None:
    start = await put(world.store, world.prefix + "a")
    waiting = asyncio.Event()

    async def read_watch() -> None:
        async for _ in world.store.watch(world.prefix, start_revision=start.revision):
            waiting.set()

    watching = asyncio.create_task(read_watch())
    async with asyncio.timeout(DEADLINE_S):
        await waiting.wait()
        await world.store.close()
        with pytest.raises(Unavailable, match="closed"):
            await watching
        with pytest.raises(Unavailable, match="closed"):
            await world.store.get(world.prefix + "a")


async def test_store_says_its_version_and_endpoint(world: StoreWorld) -> None:
    assert (await world.store.version()).count(".") == 2
    assert world.store.endpoint
