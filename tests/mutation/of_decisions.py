"""Mutants of migrations, starts whose answer is missing, promises, power cuts and a restored store."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vmha.agent import agent as agents
from vmha.agent import failsafe as promises
from vmha.agent import migrating, post_copy
from vmha.agent import session as sessions
from vmha.agent.agent import Agent
from vmha.agent.endings import Endings
from vmha.agent.inventory import Reading
from vmha.agent.migrating import Migrating
from vmha.agent.rejoin import Rejoin, read_beat
from vmha.agent.session import SessionKeeper
from vmha.agent.starts import Starts
from vmha.fencing.port import State
from vmha.leader.fencing import PowerCuts
from vmha.model.records import Phase, SeenState
from vmha.policy import plan
from vmha.policy.at_node import reconcile
from vmha.policy.members import membership
from vmha.policy.members.failsafe import refuse_promise
from vmha.policy.phases import lost
from vmha.policy.state import transitions
from vmha.policy.state.snapshot import Snapshot
from vmha.store.mirror import Mirror

from .mutant import Change, Mutant, without

SENT_BY_THEN_S = 0.1


class _Instead:
    """Stands before another, with some of its attributes replaced."""

    def __init__(self, true: Any, **instead: Any) -> None:
        self._true, self._instead = true, instead

    def __getattr__(self, name: str) -> Any:
        return self._instead[name] if name in self._instead else getattr(self._true, name)


# --- migration


def _hands_over_at_once() -> tuple[Change, ...]:
    original = post_copy.send

    async def send(hypervisor: Any, clock: Any, order: Any) -> None:
        under_way = asyncio.create_task(original(hypervisor, clock, order))
        under_way.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.sleep(SENT_BY_THEN_S)

    return ((post_copy, "send", send),)


def _leaving_is_lost() -> tuple[Change, ...]:
    return ((lost, "decide_left", lambda _vm, _held, _snapshot, _moment: None),)


def _arrives_running() -> tuple[Change, ...]:
    original = post_copy.send

    async def send(hypervisor: Any, clock: Any, order: Any) -> None:
        await original(hypervisor, clock, replace(order, paused_at_target=False))

    return ((post_copy, "send", send),)


def _switches_unseen() -> tuple[Change, ...]:
    async def see_alive(ports: Any, vm: Any, target: Any) -> None: ...

    return ((migrating, "see_alive", see_alive),)


def _gone_is_migrated() -> tuple[Change, ...]:
    original = reconcile._migrating

    def migrating(placement: Any, local: Any, attempt: Any, at_target: Any, *rest: Any) -> Any:
        gone = replace(attempt, left_by_migration=at_target is not None)
        return original(placement, local, gone, at_target, *rest)

    return ((reconcile, "_migrating", migrating),)


def _goes_on_unclaimed() -> tuple[Change, ...]:
    elsewhere = reconcile._elsewhere

    def decided(placement: Any, local: Any, attempt: Any, me: Any) -> Any:
        is_target = placement.phase is Phase.MIGRATING and placement.target == me
        if is_target and local is not None and local.state is SeenState.ARRIVED:
            return reconcile.Action.RESUME_ARRIVAL
        return elsewhere(placement, local, attempt, me)

    async def resume(self: Any, read: Any) -> None:
        await self.ports.hypervisor.resume(read.value.vm)
        if read.value.phase is Phase.ASSIGNED:
            await self.claim(read, "arrived")

    return ((reconcile, "_elsewhere", decided), (Starts, "resume_arrival", resume))


def _gives_up_under_way() -> tuple[Change, ...]:
    async def keep(self: Any, read: Any) -> None:
        new = transitions.keep(read.value, "the migration did not happen", self.ports.clock.wall())
        await self.claims.write(read, new, kind="migration-failed", text="it stays")

    return ((Migrating, "keep", keep),)


def _same_epoch() -> tuple[Change, ...]:
    return ((transitions, "_next_epoch", lambda previous: previous.epoch if previous else 1),)


# --- starts and their end


def _unsure_is_absent() -> tuple[Change, ...]:
    async def wait_out(self: Any, vm: Any) -> None: ...

    return ((Starts, "wait_out", wait_out),)


def _releases_unseen() -> tuple[Change, ...]:
    original = Endings.release

    async def release(self: Any, read: Any, spec: Any) -> None:
        async def refresh() -> Reading:
            return Reading({})

        true = self.inventory
        self.inventory = self.starts.inventory = _Instead(true, refresh=refresh)
        try:
            await original(self, read, spec)
        finally:
            self.inventory = self.starts.inventory = true

    return ((Endings, "release", release), (agents, "needs_fresh_reading", lambda action: False))


def _begins_over_starts() -> tuple[Change, ...]:
    return ((Agent, "is_at_rest", property(lambda self: True)),)


def _failed_is_absent() -> tuple[Change, ...]:
    original = Starts._start_failed

    async def failed(self: Any, held: Any, error: str) -> None:
        async def refresh() -> Reading:
            return Reading({})

        true, self.inventory = self.inventory, _Instead(self.inventory, refresh=refresh)
        try:
            await original(self, held, error)
        finally:
            self.inventory = true

    return ((Starts, "_start_failed", failed),)


# --- sessions


def _beats_uncompared() -> tuple[Change, ...]:
    original = SessionKeeper._commit_beat

    async def commit(self: Any, session: Any, sent_at: float) -> bool:
        true, self._store = self._store, without(lambda one: False, self._store)
        try:
            return await original(self, session, sent_at)
        finally:
            self._store = true

    return ((SessionKeeper, "_commit_beat", commit),)


def _evicted_is_restored() -> tuple[Change, ...]:
    original = Rejoin.write

    async def is_evicted(self: Any, session: Any) -> bool:
        return False

    async def write(self: Any, *given: Any, **how: Any) -> bool:
        true, self._store = self._store, without(lambda one: "/fencing/" not in one.key, self._store)
        try:
            return await original(self, *given, **how)
        finally:
            self._store = true

    return ((Rejoin, "is_evicted", is_evicted), (Rejoin, "write", write))


def _takes_up_what_expired() -> tuple[Change, ...]:
    original = SessionKeeper._open

    async def opened(self: Any) -> Any:
        async def status() -> Any:
            found = await true.status()
            return found if found.state is State.IDLE else replace(found, state=State.ARMED)

        true, self._guard = self._guard, _Instead(self._guard, status=status)
        try:
            return await original(self)
        finally:
            self._guard = true

    return ((SessionKeeper, "_open", opened),)


def _other_machines_too() -> tuple[Change, ...]:
    def read(known: Any) -> Any:
        beat = read_beat(known)
        return replace(beat, host="") if beat else None

    return ((sessions, "read_beat", read),)


# --- promises


def _promises_with_the_store() -> tuple[Change, ...]:
    def refuse(asker: Any, session: Any, snapshot: Any, me: Any) -> str:
        return refuse_promise(asker, session, snapshot, replace(me, store_answers=False))

    return ((promises, "refuse_promise", refuse),)


def _promises_and_counts_on() -> tuple[Change, ...]:
    return ((Mirror, "promise", lambda self, node: True),)


def _strangers_conclude() -> tuple[Change, ...]:
    return ((membership, "elapsed_after_s", lambda beat, observer: beat.dead_after_s),)


def _some_promise() -> tuple[Change, ...]:
    original = promises.Failsafe._ask

    async def ask(self: Any, *given: Any) -> Any:
        node, _ = await original(self, *given)
        return node, ""

    return ((promises.Failsafe, "_ask", ask),)


# --- fencing, and a store that was restored


def _any_answer_is_off() -> tuple[Change, ...]:
    original = PowerCuts.__init__

    def init(self: Any, *, power: Any, **rest: Any) -> None:
        async def power_off(*given: Any, **how: Any) -> Any:
            return replace(await power.power_off(*given, **how), confirmed=True)

        original(self, power=_Instead(power, power_off=power_off), **rest)

    return ((PowerCuts, "__init__", init),)


def _off_in_spite_of_a_beat() -> tuple[Change, ...]:
    original = PowerCuts._evict

    async def evict(self: Any, step: Any, *given: Any) -> Any:
        return await original(self, replace(step, beat_modified=None), *given)

    async def look(self: Any, *given: Any) -> None: ...

    return ((PowerCuts, "_evict", evict), (PowerCuts, "look", look))


def _restored_is_believed() -> tuple[Change, ...]:
    return (
        (plan, "hold_back", lambda made, snapshot, moment: made),
        (Snapshot, "unsettled", property(lambda self: None)),
    )


def _any_listing_will_do() -> tuple[Change, ...]:
    return ((SessionKeeper, "has_confirmed", lambda self: self.current is not None),)


def _mutant(name: str, removed: str, changes: Callable[[], tuple[Change, ...]]) -> Mutant:
    return Mutant(name=name, removed=removed, changes=changes)


OF_DECISIONS = (
    _mutant(
        "handover-without-waiting-for-the-source",
        "the source hands over only when the migration is over and the guest is gone there",
        _hands_over_at_once,
    ),
    _mutant("arrival-not-left-paused", "libvirt leaves the guest standing at the target", _arrives_running),
    _mutant(
        "switched-to-a-node-that-shows-no-life",
        "libvirt switches by itself only to a node that has beaten since the migration was asked for",
        _switches_unseen,
    ),
    _mutant(
        "gone-taken-for-migrated",
        "a guest that is gone at the source is handed over only if it is known to have left by migration",
        _gone_is_migrated,
    ),
    _mutant(
        "leaving-taken-for-lost",
        "a vm that a hand was migrating away, nobody knows where to, is not recovered when its node is lost",
        _leaving_is_lost,
    ),
    _mutant("arrival-resumed-before-the-claim", "what arrived goes on only after its claim", _goes_on_unclaimed),
    _mutant(
        "migration-given-up-while-under-way",
        "a migration is given up only when nothing of it can move the guest any more",
        _gives_up_under_way,
    ),
    _mutant("new-holder-under-the-old-epoch", "the epoch grows with each new holder", _same_epoch),
    _mutant(
        "unsure-start-not-waited-out",
        "a start whose answer is missing is waited out before the vm is given back",
        _unsure_is_absent,
    ),
    _mutant("released-without-a-look", "a vm is released only after a fresh look at what runs here", _releases_unseen),
    _mutant("failed-start-without-a-look", "a start that failed is given back only after a look", _failed_is_absent),
    _mutant(
        "session-begins-over-a-start",
        "no session begins while a start of the former one is under way",
        _begins_over_starts,
    ),
    _mutant(
        "beat-without-compare-of-the-one-before",
        "a beat compares the one before it, so that an evicted session can not beat",
        _beats_uncompared,
    ),
    _mutant(
        "evicted-taken-for-restored",
        "a session whose eviction is on record does not put its beat back (looked up, and compared)",
        _evicted_is_restored,
    ),
    _mutant(
        "expired-session-taken-up",
        "only a session that the guard still counts is taken up again",
        _takes_up_what_expired,
    ),
    _mutant("second-machine-of-that-name", "a session of another machine is not replaced", _other_machines_too),
    _mutant("promise-while-the-store-answers", "a node that has the store promises nothing", _promises_with_the_store),
    _mutant("promise-without-counting-anew", "who promises counts the silence anew", _promises_and_counts_on),
    _mutant("promise-of-some-is-enough", "only when all peers said yes is the hold counted anew", _some_promise),
    _mutant(
        "stranger-concludes-from-silence",
        "who is not named by the last beat waits for as long as promises may last",
        _strangers_conclude,
    ),
    _mutant(
        "unconfirmed-power-off-believed", "a power-off counts only when its status confirms it", _any_answer_is_off
    ),
    _mutant(
        "power-off-believed-in-spite-of-a-beat",
        "a beat refutes whoever says that the power is off",
        _off_in_spite_of_a_beat,
    ),
    _mutant(
        "restored-store-believed",
        "in a restored store nothing is started or moved until it is settled what runs",
        _restored_is_believed,
    ),
    _mutant(
        "listing-decided-on-unconfirmed",
        "nothing is decided on a listing before a beat sent after it has committed",
        _any_listing_will_do,
    ),
)
