"""The product with one safety check less: each mutant replaces one function, and names the law that then breaks.

A mutant whose target is gone fails loudly: the check has moved, and the mutant must follow it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vmha.agent.claims import Claims
from vmha.agent.session import SessionKeeper
from vmha.agent.starts import Starts
from vmha.fencing import gate
from vmha.fencing.deadline import Deadline, State
from vmha.leader.executor import Executor
from vmha.model.ids import Revision
from vmha.model.records import FenceRecord
from vmha.model.settings import Proof, Timing
from vmha.policy import plan
from vmha.policy.members import membership
from vmha.policy.phases import lost as lost_ones
from vmha.policy.phases import stopped
from vmha.sim.world import gate as sim_gate
from vmha.store.port import Created, Exists, Modified

from .mutant import Change, Mutant, without
from .of_decisions import OF_DECISIONS
from .of_fitness import OF_FITNESS
from .of_post_copy import OF_POST_COPY
from .of_room import OF_ROOM


def _claims_without(kept: Callable[[Any, Any], bool]) -> Callable[[], tuple[Change, ...]]:
    original = Claims.write

    async def write(self: Any, read: Any, new: Any, **how: Any) -> Any:
        true = self.ports
        self.ports = replace(true, store=without(lambda one: kept(self, one), true.store))
        try:
            return await original(self, read, new, **how)
        finally:
            self.ports = true

    return lambda: ((Claims, "write", write),)


def _executor_without(kind: str, kept: Callable[[Any], bool]) -> Callable[[], tuple[Change, ...]]:
    original = getattr(Executor, kind)

    def made(self: Any, *given: Any) -> Any:
        compares, ops = original(self, *given)
        return [one for one in compares if kept(one)], ops

    return lambda: ((Executor, kind, made),)


def _of_placement(one: Any) -> bool:
    return bool(one.key.endswith("/placement"))


def _of_beat(one: Any) -> bool:
    return bool(one.key.endswith("/beat"))


def _evict_careless() -> tuple[Change, ...]:
    return _executor_without("_evict", lambda one: not _of_beat(one))()


def _no_office() -> tuple[Change, ...]:
    nothing = property(lambda self: Created(self._keys.prefix + "nothing", Revision(0)))
    return ((Executor, "_office", nothing),)


def _judge_without_a_session(operation: Any, asked: Any, known: Any, now: float) -> str:
    armed = known if known.armed_session or known.has_expired else known._replace(armed_session="any", kill_at=now + 1)
    return gate.judge(operation, asked, armed, now)


def _counts_from_the_answer() -> tuple[Change, ...]:
    original = SessionKeeper._commit_beat

    async def commit(self: Any, session: Any, sent_at: float) -> bool:
        done = await original(self, session, sent_at)
        if done:
            session.sent_at = self._clock.now()
        return done

    return ((SessionKeeper, "_commit_beat", commit),)


def _arms_over_guests() -> tuple[Change, ...]:
    original = Deadline.arm

    def arm(self: Deadline, session: str, **how: Any) -> Any:
        here = self.tick(how["now"])
        if session != here.session:
            return original(Deadline(), session, **{**how, "guests_left": 0})
        return original(self, session, **{**how, "guests_left": 0})

    async def clean(self: Any, status: Any) -> None: ...

    return ((Deadline, "arm", arm), (SessionKeeper, "_be_clean", clean))


def _forgives_late_beats() -> tuple[Change, ...]:
    original = Deadline.beat

    def beat(self: Deadline, session: str, *, sent_at: float, now: float) -> Any:
        here = self
        if session == self.session and self.state is not State.IDLE:
            here = replace(self, state=State.ARMED, sent_at=sent_at, expired_at=None, clean_at=None)
        return original(here, session, sent_at=sent_at, now=now)

    return ((Deadline, "beat", beat),)


def _recovers_without_proof() -> tuple[Change, ...]:
    original = lost_ones.decide_lost

    def lost(vm: Any, held: Any, ground: Any, moment: Any) -> Any:
        invented = FenceRecord(session=held.session, node=held.node, proof=Proof.RELEASED, how="", at=0.0, by=held.node)
        snapshot = replace(ground.snapshot, fenced={**ground.snapshot.fenced, held.session: invented})
        return original(vm, held, replace(ground, snapshot=snapshot), moment)

    proofless = _executor_without("_place", lambda one: not isinstance(one, Exists))
    return ((plan, "decide_lost", lost), *proofless())


def _nothing_is_unsettled() -> tuple[Change, ...]:
    return ((stopped, "unsettled", lambda vm, ground: ""),)


def _never_too_late() -> tuple[Change, ...]:
    async def end(self: Any, held: Any) -> None: ...

    return ((Starts, "end_what_came_too_late", end),)


def _releases_without_looking() -> tuple[Change, ...]:
    from vmha.policy.at_node import reconcile

    original = reconcile._held

    def held(placement: Any, local: Any, attempt: Any, comes_in: Any) -> Any:
        from vmha.model.records import SeenState

        if local is not None and local.state is SeenState.PAUSED:
            return reconcile.Action.RELEASE
        return original(placement, local, attempt, comes_in)

    return ((reconcile, "_held", held),)


def _answers_before_looking() -> tuple[Change, ...]:
    from vmha.agent.inventory import Inventory

    return ((Inventory, "is_published", lambda self, session: session is not None),)


MUTANTS = (
    Mutant(
        name="guard-never-ends-guests",
        removed="the guard's deadline: time passes, and nothing expires",
        changes=lambda: ((Deadline, "tick", lambda self, now: self),),
    ),
    Mutant(
        name="guard-counts-from-the-answer",
        removed="the deadline counts from the answer to a beat instead of from its sending",
        changes=_counts_from_the_answer,
    ),
    Mutant(
        name="guard-forgives-late-beats",
        removed="an expired session stays expired: here a late beat arms it again",
        changes=_forgives_late_beats,
    ),
    Mutant(
        name="guard-armed-over-older-guests",
        removed="a new session waits until the guests of the older one are gone",
        changes=_arms_over_guests,
    ),
    Mutant(
        name="takeover-before-the-hold-ends",
        removed="dead_after is longer than hold",
        changes=lambda: ((Timing, "dead_after_s", property(lambda self: self.hold_s / 4)),),
    ),
    Mutant(
        name="suspicion-taken-for-proof",
        removed="a silent node is evicted only after dead_after: here as soon as it is suspected",
        changes=lambda: ((membership, "elapsed_after_s", lambda beat, observer: beat.hold_s / 3),),
    ),
    Mutant(
        name="eviction-without-compare-of-the-beat",
        removed="an eviction compares the last beat that was seen",
        changes=_evict_careless,
    ),
    Mutant(
        name="recovery-without-proof",
        removed="a placement leaves a session that is over only with its proof on record (in plan and transaction)",
        changes=_recovers_without_proof,
    ),
    Mutant(
        name="claim-without-compare-of-the-placement",
        removed="a claim compares the placement's revision, and so its epoch",
        changes=_claims_without(lambda self, one: not _of_placement(one)),
    ),
    Mutant(
        name="claim-without-compare-of-the-session",
        removed="a claim compares the key of the node's own beat",
        changes=_claims_without(lambda self, one: not _of_beat(one)),
    ),
    Mutant(
        name="step-without-compare-of-the-placement",
        removed="a leader's step compares the placement that it was decided on",
        changes=_executor_without("_place", lambda one: not (isinstance(one, Modified) and _of_placement(one))),
    ),
    Mutant(
        name="step-without-compare-of-the-leader-key",
        removed="every transaction of a leader compares the leader key",
        changes=_no_office,
    ),
    Mutant(
        name="start-without-time-left",
        removed="nothing is claimed or started when the guard's deadline is near or past",
        changes=lambda: ((SessionKeeper, "may_start", lambda self: self.current is not None),),
    ),
    Mutant(
        name="gate-of-a-node-without-a-session-open",
        removed="a guest that a hand sends is let in only where a session has begun",
        changes=lambda: ((sim_gate, "judge", _judge_without_a_session),),
    ),
    Mutant(
        name="start-gate-open",
        removed="libvirt's start gate judges the epoch and the deadline",
        changes=lambda: ((gate, "judge", lambda *given: ""), (sim_gate, "judge", lambda *given: "")),
    ),
    Mutant(
        name="late-start-stays",
        removed="a QEMU that came up after its session ended is ended",
        changes=_never_too_late,
    ),
    Mutant(
        name="unknown-taken-for-absent",
        removed="a vm that was never placed waits until every node has looked for it",
        changes=_nothing_is_unsettled,
    ),
    Mutant(
        name="paused-taken-for-gone",
        removed="only a guest that is not here any more is released",
        changes=_releases_without_looking,
    ),
    Mutant(
        name="predecessors-answered-for-unseen",
        removed="a node speaks for its former sessions only after its inventory is published",
        changes=_answers_before_looking,
    ),
    *OF_FITNESS,
    *OF_DECISIONS,
    *OF_POST_COPY,
    *OF_ROOM,
)

BY_NAME = {one.name: one for one in MUTANTS}
