"""A listing page by page: both adapters of the store port."""

import asyncio
from contextlib import aclosing

from tests.contract.conftest import StoreWorld
from vmha.store.port import KeyValue, Put


async def test_pages_together_are_the_listing_whatever_is_written_between_them(world: StoreWorld) -> None:
    keys = [f"{world.prefix}many/{at:04}" for at in range(1200)]
    for at in range(0, len(keys), 100):
        await world.store.txn([], [Put(key, b"0") for key in keys[at : at + 100]])
    prefix, without = world.prefix + "many/", world.prefix + "many/06"
    listing = await world.store.list(prefix, without=without)
    found: list[KeyValue] = []
    async with aclosing(world.store.pages(prefix, without=without)) as pages:
        async for page in pages:
            await world.store.txn([], [Put(key, b"1") for key in (keys[0], keys[-1])])
            assert page.revision == listing.revision
            found += page.items
    assert tuple(found) == listing.items


async def test_pages_may_be_left_before_their_end(world: StoreWorld) -> None:
    for at in range(12):
        await world.store.txn([], [Put(f"{world.prefix}many/{at:02}/{n:03}", b"0") for n in range(100)])
    async with aclosing(world.store.pages(world.prefix + "many/")) as pages:
        assert (await anext(pages)).items
    assert len((await world.store.list(world.prefix + "many/")).items) == 1200


async def test_listing_of_1200_keys_is_one_revision_while_others_write(world: StoreWorld) -> None:
    keys = [f"{world.prefix}many/{at:04}" for at in range(1200)]
    for at in range(0, len(keys), 100):
        await world.store.txn([], [Put(key, b"0") for key in keys[at : at + 100]])
    done = asyncio.Event()

    async def rewrite_first_and_last() -> None:
        count = 0
        while not done.is_set():
            count += 1
            await world.store.txn([], [Put(key, b"%d" % count) for key in (keys[0], keys[-1])])

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(rewrite_first_and_last())
        for _ in range(5):
            listing = await world.store.list(world.prefix + "many/")
            assert [kv.key for kv in listing.items] == keys
            assert listing.items[0].value == listing.items[-1].value
            assert max(kv.mod_revision for kv in listing.items) <= listing.revision
            listing = await world.store.list(world.prefix + "many/", without=world.prefix + "many/06")
            assert [kv.key for kv in listing.items] == keys[:600] + keys[700:]
            assert listing.items[0].value == listing.items[-1].value
        done.set()
