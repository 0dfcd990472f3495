"""Power that is being cut: what is under way in this term, whatever an earlier one has left to end."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

from tests.support.until import until
from vmha.fencing.power import Halt, PowerOff
from vmha.leader.executor import Executor
from vmha.leader.fencing import PowerCuts
from vmha.model.clock import SystemClock
from vmha.model.ids import NodeName, Revision, SessionId
from vmha.model.records import FenceAttempt, Reason
from vmha.model.settings import ClusterConfig
from vmha.model.vm import FenceDeviceSpec
from vmha.policy.state.snapshot import NodeView, Snapshot
from vmha.policy.state.steps import FenceNode

NODE, SESSION = NodeName("n2"), SessionId("s2")
STEP = FenceNode(
    node=NODE,
    session=SESSION,
    beat_created=Revision(1),
    beat_modified=Revision(2),
    reason=Reason(rule="r", text="t"),
)
SNAPSHOT = cast(Snapshot, SimpleNamespace(nodes={NODE: NodeView(name=NODE)}, config=ClusterConfig()))


class Power:
    """Fence agents that never answer, and take their time to end."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_end = asyncio.Event()

    async def power_off(self, node: NodeName, devices: Sequence[FenceDeviceSpec], *, halt: Halt) -> PowerOff:
        self.asked += 1
        try:
            await asyncio.Event().wait()
        finally:
            await self.may_end.wait()
        raise AssertionError("it was cancelled")

    async def give_back(self, node: NodeName, devices: Sequence[FenceDeviceSpec]) -> PowerOff:
        raise AssertionError("nothing is to be switched on")

    async def power_on(self, node: NodeName, devices: Sequence[FenceDeviceSpec], *, halt: Halt) -> PowerOff:
        raise AssertionError("nothing is to be switched on")


class Confirms:
    async def confirm(self, step: FenceNode, attempt: FenceAttempt, *, is_news: bool) -> bool:
        return True


async def test_what_an_earlier_term_leaves_to_end_takes_nothing_from_what_this_one_has_begun() -> None:
    """Else a second agent were sent after the same node, and it might be promised that nothing is taken over."""
    power, executor = Power(), cast(Executor, Confirms())
    ended: list[bool] = []
    cuts = PowerCuts(node=NodeName("n1"), power=power, clock=SystemClock(), wake=lambda: ended.append(True))
    cuts.begin(STEP, SNAPSHOT, executor)
    await until(lambda: power.asked == 1, what="the first agent to be at work")
    cuts.end()
    cuts.begin(STEP, SNAPSHOT, executor)
    await until(lambda: power.asked == 2, what="the second agent to be at work")
    power.may_end.set()
    await until(lambda: len(ended) == 1, what="the first one to have ended")
    assert cuts.sessions == {SESSION}
    cuts.end()
    await until(lambda: len(ended) == 2, what="the second one to have ended")
