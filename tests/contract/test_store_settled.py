"""A compare of all keys under a prefix: the real etcd and its twin in memory, held to the same."""

from tests.contract.conftest import StoreWorld
from vmha.store.port import Delete, Put, Settled


async def test_settled_holds_until_something_under_the_prefix_is_written(world: StoreWorld) -> None:
    rules, beside, target = (world.prefix + name for name in ("rules/", "rulesx", "target"))
    begun = await world.store.txn([], [Put(target, b"")])
    assert (await world.store.txn([Settled(rules, begun.revision)], [Put(target, b"none there")])).succeeded
    first = await world.store.txn([], [Put(rules + "a", b"")])
    await world.store.txn([], [Put(beside, b"")])
    lost = await world.store.txn([Settled(rules, begun.revision)], [Put(target, b"lost")])
    assert (lost.succeeded, lost.found) == (False, {rules: None})
    assert (await world.store.txn([Settled(rules, first.revision)], [Put(target, b"one there")])).succeeded
    await world.store.txn([], [Put(rules + "b", b"")])
    assert not (await world.store.txn([Settled(rules, first.revision)], [Put(target, b"lost")])).succeeded
    await world.store.txn([], [Delete(rules + "b")])
    assert (await world.store.txn([Settled(rules, first.revision)], [Put(target, b"one gone")])).succeeded
