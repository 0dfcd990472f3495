"""Turns steps into transactions. Every one compares the leader key: a deposed leader can write nothing.

What else a step requires stands in the step. A step that loses its compare was decided on the past; the next plan
decides again. Each change carries its journal entry in the same transaction.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import structlog

from vmha.leader import traces
from vmha.model.by_hand import RESUMED, UNFROZEN
from vmha.model.clock import Clock
from vmha.model.errors import Refused, VmhaError
from vmha.model.ids import NodeName, Revision, Term, VmName
from vmha.model.keys import Keys, encode
from vmha.model.records import FenceAttempt, FenceRecord, Outcome, Progress, Reason
from vmha.model.schema import ClusterSchema
from vmha.policy.members.power_on import stage_after
from vmha.policy.state.causes import of_request
from vmha.policy.state.hands_off import HOLD_IS_OVER
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.state.step_names import about, cause_of, name_of
from vmha.policy.state.steps import (
    AnswerRequest,
    Change,
    EvictSession,
    FenceNode,
    ForgetProof,
    ForgetRemoved,
    ForgetRequest,
    GiveBackStorage,
    PlacementStep,
    PowerOn,
    RaiseSchema,
    RememberRemoved,
    SettleDesired,
    SettleHistory,
    SettlePower,
    Step,
    WriteHold,
)
from vmha.policy.telling.survival_news import News
from vmha.store.journal import Journal
from vmha.store.port import Compare, Created, Delete, Exists, LeaseGone, Modified, Op, Put, Store, TxnResult
from vmha.tracing.operation import operation

log = structlog.get_logger(__name__)

AT_ONCE = 16

_BEGINS = (Change.ASSIGN, Change.RECOVER, Change.STOP, Change.MIGRATE, Change.DEED)
"""What an operator's hold keeps from being done (policy/state/hands_off.py)."""


class Deposed(Refused):
    """The leader key is not ours any more."""


class Executor:
    """Writes for one term."""

    def __init__(self, *, store: Store, keys: Keys, clock: Clock, node: NodeName, term: Term, journal: Journal) -> None:
        self._store, self._keys, self._clock = store, keys, clock
        self._node, self._term, self._journal = node, term, journal

    async def carry_out(self, steps: deque[Step], snapshot: Snapshot) -> Revision:
        """Takes all of ``steps``, so that each is given up once it is written: thousands at once would be a stall.

        Returns the highest revision written, 0 when nothing was.

        Raises:
            Deposed: another leads; nothing more is to be tried.
        """
        if not steps:
            return Revision(0)

        async def some() -> Revision:
            highest = Revision(0)
            while steps:  # whoever is free takes the next: a task for each of thousands would be a stall, too
                step = steps.popleft()
                with operation(name_of(step), cause_of(step), **about(step)):
                    try:
                        highest = max(highest, await self.write(step, snapshot))
                    except Deposed:
                        raise
                    except VmhaError as error:
                        log.warning("step not written", step=name_of(step), **about(step), why=str(error))
                    except (ValueError, TypeError, LookupError, AssertionError) as error:
                        # Of a record that nobody foresaw. Every leader would end by it, and nothing else be done.
                        log.error("step can not be written", step=name_of(step), **about(step), why=repr(error))
            return highest

        return max(await asyncio.gather(*(some() for _ in range(min(AT_ONCE, len(steps))))))

    async def write(self, step: Step, snapshot: Snapshot) -> Revision:
        await self._journal.refresh()
        compares, ops = self._transaction(step, snapshot)
        if not ops:
            return Revision(0)
        result = await self._commit([self._office, self._history(snapshot), *compares], ops)
        if result.succeeded:
            log.info("step written", step=name_of(step), **about(step))
            traces.written(step, snapshot, self._clock.wall())
            return result.revision
        self._check_office(result)
        log.info("step lost its compare", step=name_of(step), **about(step))
        return Revision(0)

    async def _commit(self, compares: Sequence[Compare], ops: Sequence[Op]) -> TxnResult:
        """The lease of the journal's entries may be gone: revoked, or unknown to a store that was restored."""
        try:
            return await self._store.txn(compares, ops)
        except LeaseGone:
            self._journal.forget_lease()
            raise

    async def confirm(self, step: FenceNode, attempt: FenceAttempt, *, is_news: bool) -> bool:
        """Ask the store itself: do we still lead, and is the node's beat still the last one we saw? On record then."""
        ops: list[Op] = [Put(self._keys.fence_attempt(step.node), encode(attempt))]
        if is_news:
            await self._journal.refresh()
            ops.append(self._of_fencing("fencing", step.reason.text, step))
        return (await self._commit(self._silent(step), ops)).succeeded

    async def find_obstacle(self, step: FenceNode) -> str:
        """As ``confirm``, in words and without a trace: why the node must not be fenced any more; empty: it may be.

        Raises:
            Deposed: another leads.
        """
        result = await self._store.txn(self._silent(step), [], idempotent=True)
        if result.succeeded:
            return ""
        self._check_office(result)
        beat = await self._store.get(self._keys.beat(step.node))
        if beat is None or beat.create_revision != step.beat_created:
            return f"session {step.session} of {step.node} is over"
        return f"{step.node} has committed a beat since"

    async def report(self, step: FenceNode, attempt: FenceAttempt, *, is_news: bool) -> None:
        """What came of an attempt, beside the node as long as its session is there; in the journal when it is new."""
        compares: list[Compare] = [self._office, Created(self._keys.beat(step.node), step.beat_created)]
        ops: list[Op] = [Put(self._keys.fence_attempt(step.node), encode(attempt))]
        if is_news:
            await self._journal.refresh()
            ops.append(self._of_fencing("fencing-failed", attempt.message, step))
        await self._commit(compares, ops)

    async def call_off(self, step: FenceNode, why: str) -> None:
        await self._journal.refresh()
        ops: list[Op] = [Delete(self._keys.fence_attempt(step.node)), self._of_fencing("fencing-off", why, step)]
        await self._commit([self._office], ops)

    async def storage_is_back(self, step: GiveBackStorage, how: str) -> bool:
        """Forget that the node's storage was cut; not if its session has changed meanwhile."""
        await self._journal.refresh()
        entry = self._journal.entry("storage-given-back", how, node=step.node)
        compares: list[Compare] = [self._office, Created(self._keys.beat(step.node), step.beat_created)]
        return (await self._commit(compares, [Delete(self._keys.fence_attempt(step.node)), entry])).succeeded

    async def begin_power_on(self, step: PowerOn, attempt: FenceAttempt) -> Revision:
        """On record that it is being switched on, if nothing has changed since it was decided; else 0."""
        spec = Modified(self._keys.node_spec(step.node), step.spec)
        put = Put(self._keys.fence_attempt(step.node), encode(attempt))
        result = await self._commit([*self._still_off(step, step.fencing), spec], [put])
        return result.revision if result.succeeded else Revision(0)

    async def find_obstacle_to_power(self, step: PowerOn, begun: Revision) -> str:
        """Why it must not be switched on any more; empty: it may be.

        Raises:
            Deposed: another leads.
        """
        spec = Modified(self._keys.node_spec(step.node), step.spec)
        result = await self._store.txn([*self._still_off(step, begun), spec], [], idempotent=True)
        if result.succeeded:
            return ""
        self._check_office(result)
        return f"{step.node} is back, or something else was decided of it"

    async def report_power(self, step: PowerOn, begun: Revision, attempt: FenceAttempt, *, kind: str) -> None:
        """What came of it, unless the node is back already; in the journal where ``kind`` is not empty."""
        await self._journal.refresh()
        ops: list[Op] = [Put(self._keys.fence_attempt(step.node), encode(attempt))]
        told: list[Op] = []
        if kind:
            cause, reason = step.reason.cause, step.reason
            text = {
                "switched-on": f"{step.node} is switched on again by {attempt.message}",
                "not-switched-on": f"{step.node} was not switched on again: {attempt.message}",
            }[kind]
            told = [self._journal.entry(kind, text, node=step.node, cause=cause, reason=reason)]
        if not (await self._commit(self._still_off(step, begun), [*ops, *told])).succeeded and kind == "switched-on":
            await self._commit([self._office], told)  # it was quick

    def _still_off(self, step: PowerOn, fencing: Revision) -> list[Compare]:
        at = self._keys.fence_attempt(step.node)
        return [self._office, Created(self._keys.beat(step.node), Revision(0)), Modified(at, fencing)]

    async def tell_survival(self, news: News) -> Revision:
        """0: somebody else has told, or another leads; the next look decides again."""
        await self._journal.refresh()
        key = self._keys.survival
        op: Op = Put(key, encode(news.record)) if news.record else Delete(key)
        compares: list[Compare] = [self._office, Modified(key, news.expected)]
        result = await self._commit(compares, [op, self._journal.entry(news.kind, news.text)])
        return result.revision if result.succeeded else Revision(0)

    @property
    def _office(self) -> Compare:
        return Created(self._keys.leader, Revision(self._term))

    def _history(self, snapshot: Snapshot) -> Compare:
        """Nobody has found meanwhile that the store was restored to an earlier state."""
        return Modified(self._keys.history, snapshot.history.modified if snapshot.history else Revision(0))

    def _holds(self, vm: VmName, snapshot: Snapshot) -> list[Compare]:
        """What was read of holds is still so: nothing begins once one is on record."""
        view, pause = snapshot.vms.get(vm), snapshot.pause
        freeze = view.freeze if view else None
        return [
            Modified(self._keys.freeze(vm), freeze.modified if freeze else Revision(0)),
            Modified(self._keys.pause, pause.modified if pause else Revision(0)),
        ]

    def _silent(self, step: FenceNode) -> list[Compare]:
        beat = self._keys.beat(step.node)
        return [self._office, Created(beat, step.beat_created), Modified(beat, step.beat_modified)]

    def _of_fencing(self, kind: str, text: str, step: FenceNode) -> Put:
        ago_s = step.silent_s if kind == "fencing" else 0.0
        return self._journal.entry(kind, text, node=step.node, cause=step.reason.cause, reason=step.reason, ago_s=ago_s)

    def _check_office(self, result: TxnResult) -> None:
        now = result.found.get(self._keys.leader)
        if now is None or now.create_revision != Revision(self._term):
            raise Deposed("the leader key is not ours any more")

    def _transaction(self, step: Step, snapshot: Snapshot) -> tuple[list[Compare], list[Op]]:
        match step:
            case PlacementStep():
                return self._place(step, snapshot)
            case EvictSession():
                return self._evict(step, snapshot)
            case SettlePower():
                return self._settle_power(step)
            case SettleDesired():
                return self._settle(step, snapshot)
            case SettleHistory():
                entry = self._journal.entry("history-settled", step.text)
                return [], [Put(self._keys.history, encode(step.record)), entry]
            case RaiseSchema():
                raised = ClusterSchema(version=step.version, by=self._node, at=self._clock.wall())
                entry = self._journal.entry("schema-raised", step.text)
                return [Modified(self._keys.schema, step.expected)], [Put(self._keys.schema, encode(raised)), entry]
            case WriteHold():
                return self._hold(step)
            case AnswerRequest():
                return self._answer(step.outcome, snapshot)
            case RememberRemoved():
                key = self._keys.removed(step.record.id)
                return [Modified(key, step.expected or Revision(0))], [Put(key, encode(step.record))]
            case ForgetRemoved():
                key = self._keys.removed(step.id)
                return [Modified(key, step.expected)], [Delete(key)]
            case ForgetProof():
                return [], [Delete(self._keys.fencing(step.session))]
            case ForgetRequest():
                name = step.request
                return [], [Delete(self._keys.request(name)), Delete(self._keys.outcome(name))]
            case _:
                return [], []  # power is cut by the leader itself: it takes time

    def _place(self, step: PlacementStep, snapshot: Snapshot) -> tuple[list[Compare], list[Op]]:
        key = self._keys.placement(step.vm)
        compares: list[Compare] = [Modified(key, step.expected)]
        if step.living:
            compares.append(Created(self._keys.beat(step.living[0]), step.living[1]))
        if step.fenced:
            compares.append(Exists(self._keys.fencing(step.fenced)))
        compares += [Modified(self._keys.placement(name), revision) for name, revision in step.ready]
        if step.change in _BEGINS:
            compares += self._holds(step.vm, snapshot)
        ops: list[Op] = [Put(key, encode(step.placement)) if step.placement else Delete(key)]
        if step.settle:
            more_compares, more_ops = self._settle(step.settle, snapshot)
            compares += more_compares
            ops += more_ops
        node = step.placement.target or step.placement.node if step.placement else None
        ops.append(
            self._journal.entry(
                step.change, step.reason.text, vm=step.vm, node=node, cause=step.reason.cause, reason=step.reason
            )
        )
        return compares, ops

    def _evict(self, step: EvictSession, snapshot: Snapshot) -> tuple[list[Compare], list[Op]]:
        beat = self._keys.beat(step.node)
        compares: list[Compare] = [
            Created(beat, step.beat_created),
            Created(self._keys.fencing(step.session), Revision(0)),
        ]
        if step.beat_modified is not None:
            compares.append(Modified(beat, step.beat_modified))
        record = FenceRecord(
            session=step.session,
            node=step.node,
            proof=step.proof,
            how=step.how,
            at=self._clock.wall(),
            by=self._node,
            last_beat=step.beat_modified or Revision(0),
        )
        entry = self._journal.entry(
            "fenced",
            f"{step.proof}: {step.how}",
            node=step.node,
            cause=step.reason.cause,
            reason=step.reason,
            ago_s=step.silent_s,
        )
        proofs: list[Op] = [
            Put(self._keys.fencing(session), encode(replace(record, session=session)))
            for session in (step.session, *step.former)
        ]
        if step.beat_created == 0:
            return compares, [*proofs, entry]
        return compares, [
            Delete(beat),
            Delete(self._keys.session(step.node)),
            self._after_fencing(step, snapshot),
            *proofs,
            entry,
        ]

    def _settle_power(self, step: SettlePower) -> tuple[list[Compare], list[Op]]:
        key = self._keys.fence_attempt(step.node)
        ops: list[Op] = [Put(key, encode(step.record)) if step.record else Delete(key)]
        if step.text:
            kind = "left-off" if step.record else "fencing-off"
            ops.append(self._journal.entry(kind, step.text, node=step.node))
        return [Modified(key, step.expected)], ops

    def _after_fencing(self, step: EvictSession, snapshot: Snapshot) -> Op:
        """No attempt is due any more; what is left to do for the node is on record with its proof."""
        key = self._keys.fence_attempt(step.node)
        stage = stage_after(step.proof, snapshot.config.fencing.afterwards)
        if stage is None:
            return Delete(key)
        cut = FenceAttempt(
            node=step.node,
            session=step.session,
            stage=stage,
            attempts=0,
            message=step.how,
            at=self._clock.wall(),
            by=self._node,
        )
        return Put(key, encode(cut))

    def _settle(self, step: SettleDesired, snapshot: Snapshot) -> tuple[list[Compare], list[Op]]:
        spec = snapshot.vms[step.vm].spec
        assert spec
        key = self._keys.vm_spec(step.vm)
        new = spec.value.model_copy(update={"desired": step.desired, "desired_why": step.reason.text})
        compares: list[Compare] = [Modified(key, step.expected)]
        ops: list[Op] = [Put(key, encode(new))]
        if step.acknowledged:
            placement = self._keys.placement(step.vm)
            compares.append(Modified(placement, step.acknowledged[0]))
            ops.append(Put(placement, encode(step.acknowledged[1])))
        text = f"desired state is now {step.desired}: {step.reason.text}"
        ops.append(self._journal.entry("settled", text, vm=step.vm, cause=step.reason.cause, reason=step.reason))
        return compares, ops

    def _hold(self, step: WriteHold) -> tuple[list[Compare], list[Op]]:
        key = self._keys.freeze(step.vm) if step.vm else self._keys.pause
        compares: list[Compare] = [Modified(key, step.expected)]
        if step.hold is not None:
            return compares, [Put(key, encode(step.hold))]
        reason = Reason(rule=HOLD_IS_OVER, text=step.text, cause=step.cause)
        kind = UNFROZEN if step.vm else RESUMED
        entry = self._journal.entry(kind, step.text, vm=step.vm, cause=step.cause, reason=reason)
        return compares, [Delete(key), entry]

    def _answer(self, outcome: Outcome, snapshot: Snapshot) -> tuple[list[Compare], list[Op]]:
        ops: list[Op] = [Put(self._keys.outcome(outcome.request), encode(outcome))]
        if outcome.progress is not Progress.RUNNING:
            kind = f"request-{outcome.progress}"
            asked, cause = snapshot.requests.get(outcome.request), of_request(outcome.request)
            reason = Reason(rule=kind, text=outcome.text, cause=cause, candidates=outcome.candidates)
            text = f"{outcome.request}: {outcome.text}"
            vm, node = (asked.vm, asked.node) if asked else (None, None)
            ops.append(self._journal.entry(kind, text, vm=vm, node=node, cause=cause, reason=reason))
        return [Exists(self._keys.request(outcome.request))], ops
