"""A real etcd that holds the records of a cluster without agents."""

import asyncio

from tests.support.clusters import KEYS, Book
from tests.support.etcd import RealEtcd
from vmha.store.etcd import EtcdStore
from vmha.store.port import Delete, Put


def fill(etcd: RealEtcd, book: Book) -> None:
    """The store holds just this."""

    async def write() -> None:
        store = EtcdStore(etcd.endpoints)
        try:
            old = await store.list(KEYS.prefix)
            await store.txn([], [Delete(kv.key) for kv in old.items])
            await store.txn([], [Put(key, value) for key, value in book.contents().items()])
        finally:
            await store.close()

    asyncio.run(write())
