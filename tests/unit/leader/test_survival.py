"""A store that does not take the news of N+1 costs the leader nothing but the news, until it does."""

from dataclasses import replace

from tests.support.clusters import KEYS, cluster
from vmha.leader.executor import Executor
from vmha.leader.survival import CALM_S, SurvivalWatch
from vmha.model.clock import SystemClock
from vmha.model.ids import NodeName, Term
from vmha.model.keys import encode
from vmha.model.records import LeaderRecord
from vmha.policy.plan import judge_all
from vmha.policy.telling.survival_news import STANDS_S
from vmha.sim.world.virtual import VirtualLoop, run_virtual
from vmha.store.journal import Journal
from vmha.store.memory import MemoryEtcd
from vmha.store.memory_store import MemoryStore
from vmha.store.port import Put

N1 = NodeName("n1")


def test_news_that_could_not_be_written_are_told_later_and_only_after_they_have_stood() -> None:
    book = cluster("n1").running("web", "n1")
    snapshot = book.snapshot()

    async def scene() -> None:
        etcd, clock = MemoryEtcd(), SystemClock()
        record = LeaderRecord(node=N1, session="s", since=0.0)  # type: ignore[arg-type]
        term = Term(etcd.txn([], [Put(KEYS.leader, encode(record))]).revision)
        store = MemoryStore(etcd, N1)
        journal = Journal(store, KEYS, clock, N1, days=lambda: 7)
        executor = Executor(store=store, keys=KEYS, clock=clock, node=N1, term=term, journal=journal)
        watch = SurvivalWatch(threads=False)

        async def look(at: float) -> bool:
            moment = replace(book.moment(), now=at)
            return bool(await watch.look(snapshot, moment, judge_all(snapshot, moment), executor))

        assert not await look(0.0)
        assert not await look(STANDS_S / 2)
        etcd.stop()
        assert not await look(STANDS_S)
        etcd.start()
        assert not await look(2 * STANDS_S)
        watch.stirred(3 * STANDS_S - CALM_S / 2)
        assert not await look(3 * STANDS_S), "something was decided just now: another answer may be true soon"
        assert await look(3 * STANDS_S + CALM_S)
        assert etcd.get(KEYS.survival) is not None
        await store.close()

    run_virtual(scene(), VirtualLoop())
