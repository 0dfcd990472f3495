"""Steps as transactions: what one of them meets is no other one's trouble."""

from collections import deque

from tests.support.clusters import KEYS, cluster
from vmha.leader.executor import Executor
from vmha.model.clock import SystemClock
from vmha.model.ids import NodeName, RequestId, Revision, Term, VmName
from vmha.model.keys import encode
from vmha.model.records import LeaderRecord
from vmha.policy.state.steps import ForgetRequest, WriteHold
from vmha.sim.world.virtual import VirtualLoop, run_virtual
from vmha.store.journal import Journal
from vmha.store.memory import MemoryEtcd
from vmha.store.memory_store import MemoryStore
from vmha.store.port import Put

N1 = NodeName("n1")


def test_step_that_can_not_be_put_into_words_keeps_none_of_the_others_from_being_written() -> None:
    """Nor does it end the leader, and then the next one."""
    snapshot = cluster("n1").snapshot()

    async def scene() -> None:
        etcd, clock = MemoryEtcd(), SystemClock()
        record = LeaderRecord(node=N1, session="s", since=0.0)  # type: ignore[arg-type]
        term = Term(etcd.txn([], [Put(KEYS.leader, encode(record))]).revision)
        old = KEYS.request(RequestId("old"))
        etcd.txn([], [Put(old, b"{}")])
        store = MemoryStore(etcd, N1)
        journal = Journal(store, KEYS, clock, N1, days=lambda: 7)
        executor = Executor(store=store, keys=KEYS, clock=clock, node=N1, term=term, journal=journal)
        unspeakable = WriteHold(vm=VmName("\udcff"), expected=Revision(0), hold=None, text="it is over")
        assert await executor.carry_out(deque([unspeakable, ForgetRequest(request=RequestId("old"))]), snapshot)
        assert etcd.get(old) is None
        await store.close()

    run_virtual(scene(), VirtualLoop())
