"""Cutting power: the one thing a leader does that no compare can fence and nothing can take back.

    begin: the store confirms that this leader leads and that the beat is still the silent one
      --> before every single switching it is asked again: the agents may take minutes, and a node may come back in one
      --> confirmed off: the session is evicted, if it has sent no beat since; a beat contradicts every fence agent
      --> not confirmed: told beside the node, with the time of the next try; retried for ever
    look: a node that beats again, or that another proof has evicted, ends the agents that are still at work on it

One task per session, so that several nodes are fenced at the same time. What is remembered here only spares work; a
new leader begins anew.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from vmha.fencing.power import PowerOff, PowerSwitch
from vmha.leader.executor import Deposed, Executor
from vmha.model.clock import Clock
from vmha.model.errors import VmhaError
from vmha.model.ids import NodeName, SessionId
from vmha.model.records import FenceAttempt, FenceStage
from vmha.policy.members.membership import devices_of, former_sessions
from vmha.policy.state.snapshot import NodeView, Snapshot
from vmha.policy.state.steps import EvictSession, FenceNode, GiveBackStorage
from vmha.tracing.operation import operation

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Cut:
    step: FenceNode
    task: "asyncio.Task[None]"


class PowerCuts:
    """Those under way in one term. ``wake``: something has changed, plan again."""

    def __init__(self, *, node: NodeName, power: PowerSwitch, clock: Clock, wake: Callable[[], None]) -> None:
        self._node, self._power, self._clock, self._wake = node, power, clock, wake
        self._cuts: dict[SessionId, _Cut] = {}
        self._gifts: dict[NodeName, asyncio.Task[None]] = {}
        self._gift_failed_at: dict[NodeName, float] = {}
        self.failed_at: dict[SessionId, float] = {}
        self.begun = self.failures = 0  # since this process began

    @property
    def sessions(self) -> frozenset[SessionId]:
        """Whose power is being cut right now."""
        return frozenset(self._cuts)

    def begin(self, step: FenceNode, snapshot: Snapshot, executor: Executor) -> None:
        if step.session in self._cuts:
            return
        self.begun += 1
        task = asyncio.create_task(self._cut_told(step, snapshot, executor), name=f"fence-{step.node}")
        self._cuts[step.session] = _Cut(step, task)
        task.add_done_callback(lambda done: self._ended(step.session, done))

    def _ended(self, session: SessionId, task: "asyncio.Task[None]") -> None:
        """One of an earlier term may take a while to end: what this term has begun meanwhile is under way still."""
        if (cut := self._cuts.get(session)) is not None and cut.task is task:
            del self._cuts[session]
        self._wake()

    async def look(self, snapshot: Snapshot, executor: Executor) -> None:
        """End what is out of date: cancelling the task ends the fence program, whatever it waits for."""
        for cut in list(self._cuts.values()):
            view = snapshot.nodes.get(cut.step.node)
            if view and view.beat and view.beat.modified == cut.step.beat_modified:
                continue
            if not cut.task.cancel() or view is None or view.beat is None:
                continue  # evicted: the proof is on record
            with suppress(VmhaError), operation("fencing called off", cut.step.reason.cause, node=cut.step.node):
                log.warning("fencing is called off: the node beats again", node=cut.step.node)
                await executor.call_off(cut.step, f"{cut.step.node} beats again: its fencing is called off")

    def end(self) -> None:
        """This term is over."""
        for task in (*(cut.task for cut in self._cuts.values()), *self._gifts.values()):
            task.cancel()
        self._cuts.clear()
        self._gifts.clear()

    async def _cut_told(self, step: FenceNode, snapshot: Snapshot, executor: Executor) -> None:
        with operation("cut power", step.reason.cause, node=step.node):
            log.warning("cutting power", node=step.node, why=step.reason.text)
            await self._cut(step, snapshot, executor)

    async def _cut(self, step: FenceNode, snapshot: Snapshot, executor: Executor) -> None:
        view = snapshot.nodes[step.node]
        known = view.attempt
        attempts = known.attempts + 1 if known else 1
        try:
            first = self._attempt(step, FenceStage.CUTTING, attempts, known.message if known else "")
            if not await executor.confirm(step, first, is_news=known is None):
                log.info("not fenced: it beats, or another leads", node=step.node)
                self.failed_at[step.session] = self._clock.now()
                return
            answer = await self._power.power_off(
                step.node, devices_of(view, snapshot), halt=lambda: _find_obstacle(step, executor)
            )
            said = answer.how if not answer.confirmed else await self._evict(step, snapshot, answer, executor)
            if said:
                await self._report_failure(step, snapshot, said, attempts, known, executor)
        except VmhaError as error:
            log.warning("not fenced", node=step.node, why=str(error))
            self.failed_at[step.session] = self._clock.now()

    async def _evict(self, step: FenceNode, snapshot: Snapshot, answer: PowerOff, executor: Executor) -> str:
        """Returns why the proof is not taken, empty when it is on record."""
        evict = EvictSession(
            node=step.node,
            session=step.session,
            beat_created=step.beat_created,
            beat_modified=step.beat_modified,
            proof=answer.proof,
            how=answer.how,
            reason=step.reason,
            former=former_sessions(snapshot, step.node, step.session),
            silent_s=step.silent_s,
        )
        if await executor.write(evict, snapshot):
            return ""
        why = await _find_obstacle(step, executor)
        return f"{answer.how}; but {why or 'the eviction was not written'}: not taken as proof"

    async def _report_failure(
        self, step: FenceNode, snapshot: Snapshot, said: str, attempts: int, known: FenceAttempt | None, at: Executor
    ) -> None:
        log.error("node not fenced", node=step.node, how=said, attempts=attempts)
        self.failures += 1
        self.failed_at[step.session] = self._clock.now()
        retry_s = snapshot.config.fencing.retry_s
        failed = self._attempt(step, FenceStage.FAILED, attempts, said, next_at=self._clock.wall() + retry_s)
        await at.report(step, failed, is_news=known is None or known.message != said)

    def _attempt(
        self, step: FenceNode, stage: FenceStage, attempts: int, message: str, *, next_at: float = 0.0
    ) -> FenceAttempt:
        return FenceAttempt(
            node=step.node,
            session=step.session,
            stage=stage,
            attempts=attempts,
            message=message,
            at=self._clock.wall(),
            next_at=next_at,
            by=self._node,
        )

    # --- storage that was cut is given back

    def give_back(self, step: GiveBackStorage, snapshot: Snapshot, executor: Executor) -> None:
        failed_at = self._gift_failed_at.get(step.node)
        is_early = failed_at is not None and self._clock.now() - failed_at < snapshot.config.fencing.retry_s
        if step.node in self._gifts or is_early:
            return
        view = snapshot.nodes[step.node]
        task = asyncio.create_task(self._give_back(step, view, executor), name=f"give-back-{step.node}")
        self._gifts[step.node] = task
        task.add_done_callback(lambda done: self._is_given(step.node, done))

    def _is_given(self, node: NodeName, task: "asyncio.Task[None]") -> None:
        if self._gifts.get(node) is task:
            del self._gifts[node]
        self._wake()

    async def _give_back(self, step: GiveBackStorage, view: NodeView, executor: Executor) -> None:
        assert view.spec
        try:
            answer = await self._power.give_back(step.node, view.spec.value.fence)
            if answer.confirmed and await executor.storage_is_back(step, answer.how):
                return
            log.error("storage not given back", node=step.node, how=answer.how)
        except VmhaError as error:
            log.warning("storage not given back", node=step.node, why=str(error))
        self._gift_failed_at[step.node] = self._clock.now()


async def _find_obstacle(step: FenceNode, executor: Executor) -> str:
    try:
        return await executor.find_obstacle(step)
    except Deposed as error:
        return str(error)
    except VmhaError as error:
        return f"the store does not confirm it: {error}"
