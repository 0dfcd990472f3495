"""Switching fenced nodes on again: policy/members/power_on.py says which and when.

    begin: the store confirms that this leader leads, that the node has no session and that nothing else was decided
      --> before every single switching it is asked again
      --> confirmed on, or not: on record beside the node, with the time of the next try

It proves nothing and is waited for by nobody. What is remembered here only spares work; a new leader begins anew. Done
twice it does no harm: a node that is on stays on.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from vmha.fencing.power import PowerSwitch
from vmha.leader.executor import Deposed, Executor
from vmha.model.clock import Clock
from vmha.model.errors import VmhaError
from vmha.model.ids import NodeName, SessionId
from vmha.model.records import FenceAttempt, FenceStage
from vmha.policy.members.power_on import power_devices, retry_after_s
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.state.steps import PowerOn
from vmha.tracing.operation import operation

log = structlog.get_logger(__name__)


class PowerOns:
    """Those under way in one term. ``wake``: something has changed, plan again."""

    def __init__(self, *, node: NodeName, power: PowerSwitch, clock: Clock, wake: Callable[[], None]) -> None:
        self._node, self._power, self._clock, self._wake = node, power, clock, wake
        self._tasks: dict[SessionId, asyncio.Task[None]] = {}
        self.failed_at: dict[SessionId, float] = {}

    @property
    def sessions(self) -> frozenset[SessionId]:
        """Whose nodes are being switched on right now."""
        return frozenset(self._tasks)

    def begin(self, step: PowerOn, snapshot: Snapshot, executor: Executor) -> None:
        if step.session in self._tasks:
            return
        task = asyncio.create_task(self._told(step, snapshot, executor), name=f"power-on-{step.node}")
        self._tasks[step.session] = task
        task.add_done_callback(lambda done: self._ended(step.session, done))

    def _ended(self, session: SessionId, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(session) is task:
            del self._tasks[session]
        self._wake()

    def end(self) -> None:
        """This term is over."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    async def _told(self, step: PowerOn, snapshot: Snapshot, executor: Executor) -> None:
        with operation("power on", step.reason.cause, node=step.node):
            log.info("switching a fenced node on again", node=step.node, why=step.reason.text)
            try:
                await self._switch(step, snapshot, executor)
            except VmhaError as error:
                log.warning("not switched on again", node=step.node, why=str(error))
                self.failed_at[step.session] = self._clock.now()

    async def _switch(self, step: PowerOn, snapshot: Snapshot, executor: Executor) -> None:
        view = snapshot.nodes[step.node]
        assert view.fencing
        known = view.fencing.value
        at_work = self._at(known, FenceStage.SWITCHING_ON, step.attempt, known.message)
        begun = await executor.begin_power_on(step, at_work)
        if not begun:
            log.info("not switched on: it is back, another leads, or it was decided otherwise", node=step.node)
            self.failed_at[step.session] = self._clock.now()
            return

        async def halt() -> str:
            try:
                return await executor.find_obstacle_to_power(step, begun)
            except Deposed as error:
                return str(error)
            except VmhaError as error:
                return f"the store does not confirm it: {error}"

        answer = await self._power.power_on(step.node, power_devices(view), halt=halt)
        if answer.confirmed:
            log.info("switched on again", node=step.node, how=answer.how)
            await executor.report_power(
                step, begun, self._at(at_work, FenceStage.ON, step.attempt, answer.how), kind="switched-on"
            )
            return
        self.failed_at[step.session] = self._clock.now()
        if why := await halt():
            log.info("switching on is called off", node=step.node, why=why)
            as_before = self._at(known, FenceStage.OFF, known.attempts, known.message)
            await executor.report_power(step, begun, as_before, kind="")
            return
        log.error("not switched on again", node=step.node, how=answer.how, attempts=step.attempt)
        next_at = self._clock.wall() + retry_after_s(step.attempt, snapshot.config.fencing.retry_s)
        failed = self._at(at_work, FenceStage.NOT_ON, step.attempt, answer.how, next_at=next_at)
        is_news = known.stage is FenceStage.OFF or known.message != answer.how
        await executor.report_power(step, begun, failed, kind="not-switched-on" if is_news else "")

    def _at(
        self, known: FenceAttempt, stage: FenceStage, attempts: int, message: str, *, next_at: float = 0.0
    ) -> FenceAttempt:
        now = self._clock.wall()
        return replace(known, stage=stage, attempts=attempts, message=message, at=now, next_at=next_at, by=self._node)
