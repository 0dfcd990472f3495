"""The end of a session in good order, and what a beat makes of one whose answer was lost."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import pytest

from vmha.agent.farewell import Farewell
from vmha.agent.namesakes import NotYetError
from vmha.agent.rejoin import Rejoin
from vmha.agent.session_state import Session
from vmha.fencing.port import GuardRefused, State
from vmha.fencing.simulated import SimulatedGuard
from vmha.model.clock import SystemClock
from vmha.model.ids import NodeName, Revision, SessionId
from vmha.model.keys import Keys, encode
from vmha.model.records import FenceRecord
from vmha.model.settings import PROFILES, Profile, Proof
from vmha.store.journal import Journal
from vmha.store.memory import MemoryEtcd
from vmha.store.memory_store import MemoryStore
from vmha.store.port import Ambiguous, Compare, Op, Put, TxnResult

NODE, KEYS, TIMING = NodeName("n1"), Keys("c"), PROFILES[Profile.TUNED]


class Deaf(MemoryStore):
    """What it writes is done, and the answer to it never comes."""

    is_deaf = False

    async def txn(
        self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout_s: float = 3.0, idempotent: bool = False
    ) -> TxnResult:
        result = await super().txn(compares, ops, timeout_s=timeout_s, idempotent=idempotent)
        if self.is_deaf:
            raise Ambiguous("no answer")
        return result


@dataclass(slots=True, kw_only=True)
class Scene:
    store: Deaf
    guard: SimulatedGuard
    farewell: Farewell
    session: Session
    guests: list[str]

    async def has_beat(self) -> bool:
        return await self.store.get(KEYS.beat(NODE)) is not None

    async def is_armed(self) -> bool:
        return (await self.guard.status()).state is State.ARMED


@pytest.fixture
async def scene() -> Scene:
    clock, store, guests = SystemClock(), Deaf(MemoryEtcd(), NODE), list[str]()
    guard = SimulatedGuard(clock, tuple, list_managed=lambda: guests)
    beat = await store.txn([], [Put(KEYS.beat(NODE), b"{}")])
    session = Session(
        id=SessionId("s1"),
        beat_created=beat.revision,
        beat_modified=beat.revision,
        count=1,
        sent_at=clock.now(),
        timing=TIMING,
        live_since=0.0,
    )
    await guard.arm(session.id, hold_s=60.0, kill_lead_s=1.0, sent_at=clock.now(), watchdog_s=0)
    journal = Journal(store, KEYS, clock, NODE, days=lambda: 1)
    rejoin = Rejoin(store, KEYS, clock, NODE, journal, lambda: None)
    farewell = Farewell(store, KEYS, guard, NODE, rejoin)
    return Scene(store=store, guard=guard, farewell=farewell, session=session, guests=guests)


def looks(*, is_empty: bool = True) -> Callable[[Revision], Awaitable[bool]]:
    async def look(_: Revision) -> bool:
        return is_empty

    return look


async def test_session_that_is_over_has_no_beat_and_its_guard_counts_no_more(scene: Scene) -> None:
    await scene.farewell.say(scene.session, looks())
    assert (await scene.has_beat(), await scene.is_armed()) == (False, False)
    assert (scene.session.over.is_set(), scene.farewell.is_said) == (True, True)


async def test_session_goes_on_while_something_is_here(scene: Scene) -> None:
    with pytest.raises(NotYetError):
        await scene.farewell.say(scene.session, looks(is_empty=False))
    assert (await scene.has_beat(), await scene.is_armed()) == (True, True)
    assert not scene.session.over.is_set()


async def test_session_goes_on_after_a_beat_that_is_later_than_the_look(scene: Scene) -> None:
    """Whoever has seen that one may be having libvirt run a guest here."""

    async def look(as_of: Revision) -> bool:
        assert as_of == scene.session.beat_modified
        await scene.store.txn([], [Put(KEYS.beat(NODE), b"{}")])
        return True

    with pytest.raises(NotYetError):
        await scene.farewell.say(scene.session, look)
    assert (await scene.has_beat(), await scene.is_armed()) == (True, True)
    assert not scene.session.over.is_set()


async def test_guest_that_has_come_all_the_same_is_counted_on_for(scene: Scene) -> None:
    scene.guests.append("web")
    with pytest.raises(GuardRefused):
        await scene.farewell.say(scene.session, looks())
    assert scene.session.over.is_set()
    assert await scene.is_armed()


async def test_beat_that_finds_none_after_an_answer_was_lost_is_not_put_back(scene: Scene) -> None:
    """A store that was restored looks the same, and everything would wait until that is settled."""
    scene.store.is_deaf = True
    with pytest.raises(Ambiguous):
        await scene.farewell.say(scene.session, looks())
    assert not scene.farewell.is_said
    assert await scene.farewell.was_said(scene.session, None)
    assert (scene.session.over.is_set(), scene.farewell.is_said) == (True, True)
    assert not await scene.is_armed()


async def test_beat_that_finds_none_after_an_eviction_is_told_so(scene: Scene) -> None:
    scene.store.is_deaf = True
    with pytest.raises(Ambiguous):
        await scene.farewell.say(scene.session, looks())
    scene.store.is_deaf = False
    proof = FenceRecord(session=scene.session.id, node=NODE, proof=Proof.GUARD_ELAPSED, how="", at=0.0, by=NODE)
    await scene.store.txn([], [Put(KEYS.fencing(scene.session.id), encode(proof))])
    assert not await scene.farewell.was_said(scene.session, None)
    assert await scene.is_armed()


async def test_beat_that_finds_none_though_nobody_wanted_to_leave_is_another_matter(scene: Scene) -> None:
    assert not await scene.farewell.was_said(scene.session, None)
    assert not scene.farewell.is_said


async def test_beat_that_is_missing_after_one_more_was_committed_is_missing_for_another_reason(scene: Scene) -> None:
    """An end that was asked for and never came must not disarm the guard of guests that run in a restored store."""
    scene.store.is_deaf = True
    with pytest.raises(Ambiguous):
        await scene.farewell.say(scene.session, looks())
    scene.farewell.beat_committed()
    assert not await scene.farewell.was_said(scene.session, None)
    assert (await scene.is_armed(), scene.farewell.is_said, scene.session.over.is_set()) == (True, False, False)


async def test_node_that_stays_and_had_left_all_the_same_is_free_to_begin_a_new_session(scene: Scene) -> None:
    scene.store.is_deaf = True
    with pytest.raises(Ambiguous):
        await scene.farewell.say(scene.session, looks())
    scene.farewell.take_back()
    scene.store.is_deaf = False
    assert await scene.farewell.was_said(scene.session, None)
    assert (await scene.is_armed(), scene.farewell.is_said, scene.session.over.is_set()) == (False, False, True)
