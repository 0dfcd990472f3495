"""What the leader tells hooks: at least once, in order, over changes of the leader; bounded, and holding nothing up."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.waiting import eventually
from vmha.hooks.port import Delivered
from vmha.leader.hooks import Hooks
from vmha.model.clock import SystemClock
from vmha.model.errors import Refused
from vmha.model.holds import PauseMode
from vmha.model.hooks import EVENTS, Hook
from vmha.model.ids import NodeName, Revision, SessionId, Term, VmName
from vmha.model.keys import Keys, decode, encode
from vmha.model.records import HookState, JournalEntry, LeaderRecord
from vmha.model.settings import ClusterConfig
from vmha.operator import holds
from vmha.operator.client import OperatorClient
from vmha.operator.errors import OperationFailed, TimedOut, UnknownName
from vmha.operator.hooks import read_hooks, try_hook
from vmha.policy.state.steps import Change
from vmha.sim.world.virtual import VirtualLoop, run_virtual
from vmha.store.journal import Journal
from vmha.store.memory import MemoryEtcd
from vmha.store.memory_store import MemoryStore
from vmha.store.port import Delete, Put

KEYS = Keys("test")


class Ear:
    """A delivery that remembers, and answers as it is told: by hook, one after another, the last for ever."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, list[Delivered]] = {}
        self.closed: set[str] = set()
        self.opened = asyncio.Event()
        self.most_at_once = self._now = 0

    async def deliver(self, hook: Hook, body: bytes) -> Delivered:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            if hook.name in self.closed:
                await self.opened.wait()
            await asyncio.sleep(0)
            self.heard.append((hook.name, json.loads(body)))
            answers = self.answers.get(hook.name, [Delivered(is_done=True)])
            return answers.pop(0) if len(answers) > 1 else answers[0]
        finally:
            self._now -= 1

    def texts(self, hook: str) -> list[str]:
        return [event["text"] for name, event in self.heard if name == hook]


class Stage:
    def __init__(self, *hooks: dict[str, Any]) -> None:
        self.etcd, self.clock = MemoryEtcd(), SystemClock()
        self.config = ClusterConfig.model_validate({"hooks": hooks})
        self.put(KEYS.config, self.config)
        self.ear = Ear()
        self.client = OperatorClient(MemoryStore(self.etcd, "op"), KEYS, self.clock, author="ann")
        self.journal = Journal(MemoryStore(self.etcd, "n9"), KEYS, self.clock, NodeName("n9"), days=lambda: 1)

    def put(self, key: str, record: Any) -> None:
        self.etcd.txn([], [Put(key, encode(record))])

    def elect(self, node: str) -> Term:
        self.etcd.txn([], [Delete(KEYS.leader)])
        self.put(KEYS.leader, LeaderRecord(node=NodeName(node), session=SessionId("s"), since=0.0))
        found = self.etcd.get(KEYS.leader)
        assert found is not None
        return Term(found.create_revision)

    def write(self, kind: str, *texts: str) -> None:
        for text in texts:
            self.etcd.txn([], [self.journal.entry(kind, text, vm=VmName("web"))])

    def state(self, hook: str) -> HookState | None:
        kv = self.etcd.get(KEYS.hook(hook))
        return decode(HookState, kv.value, where=kv.key) if kv else None

    def told(self, kind: str) -> list[str]:
        entries = [decode(JournalEntry, kv.value, where=kv.key) for kv in self.etcd.list(KEYS.journal("")).items]
        return [entry.text for entry in entries if entry.kind == kind]

    @asynccontextmanager
    async def leading(self, node: str, *, queue: int = 1000) -> AsyncIterator[None]:
        """A leader of its own; it has read the journal when this begins."""
        term = self.elect(node)
        hooks = Hooks(
            store=MemoryStore(self.etcd, node),
            keys=KEYS,
            clock=self.clock,
            node=NodeName(node),
            delivery=self.ear,
            read_config=lambda: self.config,
            read_term=lambda: term,
            queue=queue,
        )
        task = asyncio.create_task(hooks.run())

        async def is_ready() -> bool:
            states = [self.state(hook.name) for hook in self.config.hooks]
            return all(state is not None and state.by == node for state in states)

        try:
            await eventually(is_ready)
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def hook(name: str = "pager", **fields: Any) -> dict[str, Any]:
    return {"name": name, "on": ["vm-recovered", "node-lost"], "exec": "tell", **fields}


async def heard(stage: Stage, name: str, count: int) -> None:
    async def enough() -> bool:
        return len(stage.ear.texts(name)) >= count

    await eventually(enough)


async def handled(stage: Stage, name: str, count: int) -> HookState:
    async def look() -> HookState | None:
        state = stage.state(name)
        return state if state is not None and state.delivered + state.failed >= count else None

    state = await eventually(look)
    assert state is not None
    return state


async def test_hook_is_told_what_it_wants_in_order_and_nothing_else() -> None:
    stage = Stage(hook())
    async with stage.leading("n1"):
        stage.write("assign", "placed")
        stage.write("recover", "one", "two")
        stage.write("fenced", "three")
        state = await handled(stage, "pager", 3)
    assert stage.ear.texts("pager") == ["one", "two", "three"]
    first = stage.ear.heard[0][1]
    assert (first["event"], first["kind"], first["vm"], first["cluster"]) == ("vm-recovered", "recover", "web", "test")
    assert first["id"]
    assert (state.delivered, state.failed, state.dropped) == (3, 0, 0)


async def test_new_hook_is_told_what_happens_from_its_setting_on_however_late_a_leader_takes_it_up() -> None:
    stage = Stage()
    stage.write("recover", "before it was set")
    stage.config = ClusterConfig.model_validate({"hooks": [hook()]})
    written = stage.journal.entry("recover", "written with the settings", vm=VmName("web"))
    stage.etcd.txn([], [Put(KEYS.config, encode(stage.config)), written])
    stage.write("recover", "before a leader has seen it")
    async with stage.leading("n1"):
        stage.write("recover", "after")
        await handled(stage, "pager", 2)
    assert stage.ear.texts("pager") == ["before a leader has seen it", "after"]


async def test_hook_whose_record_is_of_another_history_of_the_store_is_told_what_happens_from_now_on() -> None:
    stage = Stage(hook())
    stage.write("recover", "old")
    stage.put(KEYS.hook("pager"), HookState(hook="pager", revision=Revision(10**6), entry=""))
    async with stage.leading("n1"):
        stage.write("recover", "new")
        await handled(stage, "pager", 1)
    assert stage.ear.texts("pager") == ["new"]


async def test_next_leader_goes_on_where_the_last_one_was() -> None:
    stage = Stage(hook())
    async with stage.leading("n1"):
        stage.write("recover", "one")
        await handled(stage, "pager", 1)
    stage.write("recover", "between")
    async with stage.leading("n2"):
        stage.write("recover", "after")
        await handled(stage, "pager", 3)
    assert stage.ear.texts("pager") == ["one", "between", "after"]


async def test_event_that_was_under_way_when_the_leader_fell_is_told_by_the_next_one() -> None:
    stage = Stage(hook())
    stage.ear.closed.add("pager")
    async with stage.leading("n1"):
        stage.write("recover", "one")
    stage.ear.closed.clear()
    async with stage.leading("n2"):
        await handled(stage, "pager", 1)
    assert stage.ear.texts("pager") == ["one"]


async def test_deposed_leader_writes_nothing() -> None:
    stage = Stage(hook())
    async with stage.leading("n1"):
        stage.elect("n2")
        stage.write("recover", "one")
        await heard(stage, "pager", 1)
        state = stage.state("pager")
        assert state is not None
        assert state.delivered == 0


@pytest.mark.parametrize("steps", range(8))
def test_end_is_heard_in_the_instant_in_which_the_office_turns_out_to_be_lost_too(steps: int) -> None:
    """So many steps of the loop after telling began, which fails at once: an agent that is told to end has to end."""

    class Deposed(Hooks):
        async def _serve(self, term: Term, hooks: tuple[Hook, ...]) -> None:
            raise Refused("another one leads")

    async def scene() -> None:
        stage = Stage(hook())
        store, config = MemoryStore(stage.etcd, "n1"), stage.config
        about: dict[str, Any] = {"delivery": stage.ear, "read_config": lambda: config, "read_term": lambda: Term(1)}
        hooks = Deposed(store=store, keys=KEYS, clock=stage.clock, node=NodeName("n1"), **about)
        task = asyncio.create_task(hooks.run())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=60.0)
        assert task.done()
        await store.close()

    run_virtual(scene(), VirtualLoop())


async def test_hook_that_hangs_does_not_hold_up_another() -> None:
    stage = Stage(hook("stuck"), hook("well"))
    stage.ear.closed.add("stuck")
    async with stage.leading("n1"):
        stage.write("recover", "one", "two")
        await handled(stage, "well", 2)
        assert stage.ear.texts("stuck") == []
        stage.ear.opened.set()
        await handled(stage, "stuck", 2)
    assert stage.ear.texts("stuck") == ["one", "two"]


async def test_no_more_are_told_at_once_than_there_are_slots() -> None:
    stage = Stage(*(hook(f"h{number}") for number in range(9)))
    stage.ear.closed |= {f"h{number}" for number in range(9)}
    async with stage.leading("n1"):
        stage.write("recover", "one")

        async def are_full() -> bool:
            return stage.ear.most_at_once == 4

        await eventually(are_full)
        stage.ear.opened.set()
        for number in range(9):
            await handled(stage, f"h{number}", 1)
    assert stage.ear.most_at_once == 4


async def test_hook_that_is_far_behind_loses_the_oldest_is_counted_and_told_once() -> None:
    stage = Stage(hook())
    stage.ear.closed.add("pager")
    async with stage.leading("n1", queue=3):
        stage.write("recover", "first")
        await asyncio.sleep(0)
        stage.write("recover", *map(str, range(10)))

        async def has_dropped() -> bool:
            stage.ear.opened.set()
            state = stage.state("pager")
            return state is not None and state.dropped > 0 and bool(stage.told("hook-trouble"))

        async def has_heard_the_last() -> bool:
            return stage.ear.texts("pager")[-1:] == ["9"]

        await eventually(has_dropped)
        await eventually(has_heard_the_last)
    assert len(stage.told("hook-trouble")) == 1
    assert "is behind" in stage.told("hook-trouble")[0]


async def test_failure_is_tried_again_until_it_works() -> None:
    stage = Stage(hook())
    stage.ear.answers["pager"] = [Delivered(is_done=False, said="busy"), Delivered(is_done=True)]
    async with stage.leading("n1"):
        stage.write("recover", "one")
        state = await handled(stage, "pager", 1)
    assert (state.delivered, state.failed) == (1, 0)
    assert stage.ear.texts("pager") == ["one", "one"]


async def test_failure_that_stays_is_given_up_counted_and_told_once_and_the_next_event_is_told() -> None:
    stage = Stage(hook(give_up_s=0))
    bad = Delivered(is_done=False, said="no route")
    stage.ear.answers["pager"] = [bad, bad, Delivered(is_done=True)]
    async with stage.leading("n1"):
        stage.write("recover", "one", "two", "three")
        state = await handled(stage, "pager", 3)
    assert (state.delivered, state.failed) == (1, 2)
    assert len(stage.told("hook-trouble")) == 1
    assert "no route" in stage.told("hook-trouble")[0]


async def test_hook_for_everything_is_not_told_of_hooks() -> None:
    stage = Stage(hook(on=["*"], give_up_s=0))
    stage.ear.answers["pager"] = [Delivered(is_done=False, said="no", is_final=True)]
    async with stage.leading("n1"):
        stage.write("some-later-kind", "one")
        await handled(stage, "pager", 1)

        async def is_told() -> bool:
            return bool(stage.told("hook-trouble"))

        await eventually(is_told)
        stage.write("note", "two")
        await handled(stage, "pager", 2)
    assert stage.ear.texts("pager") == ["one", "two"]


async def test_hooks_that_are_changed_are_taken_up() -> None:
    stage = Stage(hook())
    async with stage.leading("n1"):
        stage.config = ClusterConfig.model_validate({"hooks": [hook(), hook("second", on=["vm-departed"])]})

        async def is_there() -> bool:
            return stage.state("second") is not None

        await eventually(is_there)
        stage.write("departed", "gone")
        await handled(stage, "second", 1)
    assert stage.ear.texts("second") == ["gone"]
    assert stage.ear.texts("pager") == []


async def test_trying_a_hook_tells_it_alone_and_gives_its_words() -> None:
    stage = Stage(hook(), hook("other", on=["*"]))
    stage.ear.answers["pager"] = [Delivered(is_done=True, said="answered 200"), Delivered(is_done=False, said="404")]
    async with stage.leading("n1"):
        assert await try_hook(stage.client, "pager", timeout_s=20.0) == "answered 200"
        with pytest.raises(OperationFailed, match="hook pager: 404"):
            await try_hook(stage.client, "pager", timeout_s=20.0)
    assert stage.ear.texts("other") == []
    assert [event["event"] for _, event in stage.ear.heard] == ["hook-test", "hook-test"]
    ((first, state), _) = await read_hooks(stage.client)
    assert state is not None
    assert (first.name, state.delivered, state.failed) == ("pager", 1, 1)


async def test_trying_what_there_is_not_suggests_and_without_a_leader_gives_up() -> None:
    stage = Stage(hook())
    with pytest.raises(UnknownName, match="did you mean pager"):
        await try_hook(stage.client, "pagr", timeout_s=1.0)
    with pytest.raises(TimedOut, match="no leader has taken it up"):
        await try_hook(stage.client, "pager", timeout_s=0.5)


def test_every_change_of_a_placement_has_a_name_as_an_event() -> None:
    assert {str(change) for change in Change} <= EVENTS.keys()


async def test_what_an_operator_does_is_told_with_who_and_why_and_a_guest_that_goes_on_is_another_event() -> None:
    stage = Stage(hook(on=["cluster-paused", "cluster-resumed"]))
    async with stage.leading("n1"):
        await holds.pause(stage.client, PauseMode.ALL, reason="new switches", for_s=3600.0)
        stage.write("resumed", "it is resumed on n1: its disk is back")
        await holds.resume(stage.client)

        async def are_told() -> bool:
            return len(stage.ear.heard) >= 2

        await eventually(are_told)
    paused, resumed = (event for _, event in stage.ear.heard)
    assert (paused["event"], paused["hand"]["author"], paused["hand"]["why"]) == (
        "cluster-paused",
        "ann",
        "new switches",
    )
    assert (resumed["event"], resumed["hand"]["author"]) == ("cluster-resumed", "ann")
