"""A store that does not take the news of N+1 costs the leader nothing but the news, until it does; and how long the
leader looks for the answer is bounded.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count

import pytest

from tests.support.clusters import KEYS, Book, cluster
from tests.support.until import until
from vmha.leader.executor import Executor
from vmha.leader.survival import AGAIN_S, BESIDE_THE_LOOP_FROM, CALM_S, PATIENCE_S, SurvivalWatch
from vmha.model.clock import Clock, SystemClock
from vmha.model.ids import NodeName, Term
from vmha.model.keys import decode, encode
from vmha.model.records import LeaderRecord
from vmha.model.survival import SurvivalRecord
from vmha.policy.plan import judge_all
from vmha.policy.telling.survival_news import STANDS_S
from vmha.sim.world.virtual import VirtualLoop, run_virtual
from vmha.store.journal import Journal
from vmha.store.memory import MemoryEtcd
from vmha.store.memory_store import MemoryStore
from vmha.store.port import Put

N1 = NodeName("n1")
Look = Callable[[float], Awaitable[bool]]


@asynccontextmanager
async def watching(
    book: Book, clock: Clock, *, threads: bool = False
) -> AsyncIterator[tuple[Look, MemoryEtcd, SurvivalWatch]]:
    """``look`` at an instant: was anything told?"""
    etcd = MemoryEtcd()
    record = LeaderRecord(node=N1, session="s", since=0.0)  # type: ignore[arg-type]
    term = Term(etcd.txn([], [Put(KEYS.leader, encode(record))]).revision)
    store = MemoryStore(etcd, N1)
    journal = Journal(store, KEYS, SystemClock(), N1, days=lambda: 7)
    executor = Executor(store=store, keys=KEYS, clock=SystemClock(), node=N1, term=term, journal=journal)
    watch, snapshot = SurvivalWatch(clock, threads=threads), book.snapshot()

    async def look(at: float) -> bool:
        moment = replace(book.moment(), now=at)
        return bool(await watch.look(snapshot, moment, judge_all(snapshot, moment), executor))

    yield look, etcd, watch
    watch.end()
    await store.close()


def told(etcd: MemoryEtcd) -> SurvivalRecord | None:
    found = etcd.get(KEYS.survival)
    return decode(SurvivalRecord, found.value, where=found.key) if found else None


def test_news_that_could_not_be_written_are_told_later_and_only_after_they_have_stood() -> None:
    async def scene() -> None:
        async with watching(cluster("n1").running("web", "n1"), SystemClock()) as (look, etcd, watch):
            assert not await look(0.0)
            assert not await look(STANDS_S / 2)
            etcd.stop()
            assert not await look(STANDS_S)
            etcd.start()
            assert not await look(2 * STANDS_S)
            watch.stirred(3 * STANDS_S - CALM_S / 2)
            assert not await look(3 * STANDS_S), "something was decided just now: another answer may be true soon"
            assert await look(3 * STANDS_S + CALM_S)
            assert told(etcd) is not None

    run_virtual(scene(), VirtualLoop())


class SlowMachine(SystemClock):
    """Between two looks at the clock it takes ``step_s``."""

    def __init__(self, step_s: float) -> None:
        self.step_s, self._at, self.readings = step_s, 0.0, 0

    def now(self) -> float:
        self._at += self.step_s
        self.readings += 1
        return self._at


def full(nodes: int) -> Book:
    """Each node has one vm that fits nowhere else."""
    names = [f"n{number}" for number in range(1, nodes + 1)]
    book = cluster(*names, memory_mib=4096)
    for name in names:
        book.running(f"on-{name}", name, memory_mib=3000)
    return book


def test_looking_ends_when_its_time_is_up_and_what_was_not_looked_at_is_told() -> None:
    async def scene() -> None:
        clock = SlowMachine(PATIENCE_S / 2.5)
        async with watching(full(6), clock) as (look, etcd, _):
            assert not await look(0.0)
            assert clock.readings == 4, "its begin, and one before each node that is looked at or was to be"
            assert await look(STANDS_S)
            record = told(etcd)
            assert record is not None
            assert record.vms == 2
            assert "the loss of n1: on-n1 would not come back" in record.text
            assert record.text.endswith("; 4 nodes not looked at (vmha plan --if 'any node lost')")

    run_virtual(scene(), VirtualLoop())


def test_answer_that_lacks_nodes_is_asked_for_again_after_a_while_and_a_whole_one_is_not() -> None:
    async def scene() -> None:
        clock = SlowMachine(PATIENCE_S)
        async with watching(full(3), clock) as (look, etcd, _):
            await look(0.0)
            await look(STANDS_S)
            assert told(etcd) is None, "nothing was looked at: not known"
            seen, clock.step_s = clock.readings, 0.0
            await look(2 * STANDS_S)
            assert clock.readings == seen
            await look(AGAIN_S)
            assert clock.readings > seen
            seen = clock.readings
            await look(AGAIN_S + STANDS_S)
            record = told(etcd)
            assert record is not None
            assert (record.vms, "not looked at" in record.text) == (3, False)
            await look(3 * AGAIN_S)
            assert clock.readings == seen

    run_virtual(scene(), VirtualLoop())


@pytest.mark.parametrize(("vms", "readings"), [(3, 2 + 4), (BESIDE_THE_LOOP_FROM, 4)])
async def test_what_takes_long_is_asked_beside_the_loop_with_as_much_time(vms: int, readings: int) -> None:
    """A small cluster is looked at on the loop first, for a moment: here until it should look at the first node."""
    book = full(3)
    for number in range(3, vms):
        book.running(f"small{number}", "n1", memory_mib=1)
    clock = SlowMachine(PATIENCE_S / 5.0)  # enough for all of them, and for none on the loop
    times = count(0.0, STANDS_S)
    async with watching(book, clock, threads=True) as (look, etcd, _):
        await until(lambda: look(next(times)), what="it is told", timeout_s=60.0)
        record = told(etcd)
        assert record is not None
        assert "not looked at" not in record.text
        assert clock.readings == readings
