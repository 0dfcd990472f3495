"""A large listing is read in slices: others have their turns meanwhile, and nobody sees a half."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.until import until
from vmha.model.clock import SystemClock
from vmha.model.ids import NodeName, VmName
from vmha.model.keys import Keys, encode
from vmha.model.records import ArmedLevel, BeatRecord
from vmha.model.vm import NodeSpec, VmSpec
from vmha.policy.state.assemble import Assembler
from vmha.store.memory import MemoryEtcd
from vmha.store.memory_store import MemoryStore
from vmha.store.mirror import READ_AT_ONCE, Mirror
from vmha.store.port import Delete, Put

KEYS = Keys("c")
VMS = 10 * READ_AT_ONCE


def filled(count: int = VMS) -> MemoryEtcd:
    etcd = MemoryEtcd()
    for number in range(count):
        define(etcd, number)
    return etcd


def define(etcd: MemoryEtcd, number: int, memory_mib: int = 64) -> None:
    name = VmName(f"vm{number:04d}")
    spec = VmSpec(name=name, xml="<domain/>", uuid=f"00000000-0000-4000-8000-{number:012d}", memory_mib=memory_mib)
    etcd.txn([], [Put(KEYS.vm_spec(name), encode(spec))])


@asynccontextmanager
async def mirrored(etcd: MemoryEtcd) -> AsyncIterator[Mirror]:
    store = MemoryStore(etcd, "n1")
    mirror = Mirror(store, KEYS, SystemClock())
    task = asyncio.create_task(mirror.run())
    try:
        yield mirror
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await store.close()


async def test_others_have_their_turns_while_a_large_listing_is_read_and_see_all_of_it_or_nothing() -> None:
    seen: list[int] = []
    async with mirrored(filled()) as mirror:
        async with asyncio.timeout(20.0):
            while not mirror.synced.is_set():
                await asyncio.sleep(0)
                seen.append(len(mirror.snapshot().vms))
    assert set(seen) == {0, VMS}
    assert len(seen) >= VMS / READ_AT_ONCE


async def test_reading_in_slices_comes_to_what_reading_in_one_go_comes_to() -> None:
    etcd = filled()
    beat = BeatRecord(session="s", boot_id="b", count=1, armed=ArmedLevel.GUARD, hold_s=1.0, dead_after_s=2.0)  # type: ignore[arg-type]
    etcd.txn([], [Put(KEYS.beat(NodeName("n1")), encode(beat)), Put(f"{KEYS.prefix}config", b"not JSON")])
    at_once = Assembler(KEYS)
    listing = etcd.list(KEYS.prefix)
    for kv in listing.items:
        at_once.put(kv.key, kv.value, created=kv.create_revision, modified=kv.mod_revision, lease=kv.lease)
    async with mirrored(etcd) as mirror:
        await until(mirror.synced.is_set, what="the listing")
        assert mirror.snapshot() == at_once.snapshot(listing.revision)
        assert set(mirror.silence_s()) == {"n1"}


async def test_a_second_large_listing_announces_what_has_changed_and_keeps_the_rest() -> None:
    etcd = filled()
    async with mirrored(etcd) as mirror:
        await until(mirror.synced.is_set, what="the listing")
        kept = mirror.snapshot().vms[VmName(f"vm{VMS - 1:04d}")]
        told: set[str] = set()
        etcd.stop()
        for number in range(2 * READ_AT_ONCE):
            define(etcd, number, memory_mib=128)
        etcd.txn([], [Delete(KEYS.vm_spec(VmName("vm0200")))])
        etcd.compact(etcd.revision)
        mirror.subscribe(told.update)
        etcd.start()
        await until(lambda: len(told) > 2 * READ_AT_ONCE, what="the changes", timeout_s=30.0)
        vms = mirror.snapshot().vms
    changed = {KEYS.vm_spec(VmName(f"vm{number:04d}")) for number in range(2 * READ_AT_ONCE)}
    assert told == changed | {KEYS.vm_spec(VmName("vm0200"))}
    assert len(vms) == VMS - 1
    assert vms[VmName(f"vm{VMS - 1:04d}")] is kept
    spec = vms[VmName("vm0000")].spec
    assert spec
    assert spec.value.memory_mib == 128


async def test_store_that_goes_back_while_it_is_being_read_is_read_again() -> None:
    etcd = filled()
    async with mirrored(etcd) as mirror:
        await asyncio.sleep(0)
        mirror.distrust()
        told: Counter[str] = Counter()
        mirror.subscribe(told.update)
        await until(mirror.synced.is_set, what="a listing that counts")
        define(etcd, VMS)
        await until(lambda: len(mirror.snapshot().vms) == VMS + 1, what="a change")
    assert set(told.values()) == {1}, "nothing of the reading that did not count was announced"


def test_copy_of_an_assembler_and_the_original_go_their_own_ways() -> None:
    one = Assembler(KEYS)
    revision = MemoryEtcd().list("").revision

    def put(assembler: Assembler, node: str) -> None:
        key = KEYS.node_spec(NodeName(node))
        value = encode(NodeSpec(name=NodeName(node)))
        assembler.put(key, value, created=revision, modified=revision, lease=0)  # type: ignore[arg-type]

    put(one, "n1")
    other = one.copy()
    put(one, "n2")
    put(other, "n3")
    other.delete(KEYS.node_spec(NodeName("n1")))
    assert set(one.snapshot(revision).nodes) == {"n1", "n2"}
    assert set(other.snapshot(revision).nodes) == {"n3"}
