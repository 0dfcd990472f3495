"""Ends a guest that runs, or stands, and is of no use, and lets one go on whose disk may be back. On record first.

What it ended is remembered until its end has been seen: that was no crash of its own, and nobody's hand.
"""

from dataclasses import dataclass, field

from vmha.agent.claims import Claims, Lost
from vmha.agent.health import HealthWatch
from vmha.agent.pauses import Pauses
from vmha.agent.ports import AgentPorts
from vmha.model.ids import Revision, VmName
from vmha.model.records import Failure, Placement, RunEnd, Stored
from vmha.policy.at_node.health import Consequence
from vmha.policy.at_node.paused import Deed


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedByUs:
    """A guest that this agent has ended for a reason of its own. ``leaves``: it is better off on another node."""

    under: Revision
    ended: RunEnd
    why: str
    leaves: bool = False


@dataclass(slots=True, kw_only=True)
class Troubled:
    ports: AgentPorts
    claims: Claims
    health: HealthWatch
    pauses: Pauses
    _ended: dict[VmName, EndedByUs] = field(default_factory=dict)

    async def end(self, read: Stored[Placement]) -> None:
        """Its QEMU is ended, and what follows is decided when that has been seen.

        Raises: Lost: it is well again.
        """
        if (reaction := self.pauses.reaction(read.value.vm)).deed is Deed.END:
            await self._end(read, RunEnd.CRASHED, reaction.why, leaves=reaction.leaves)
            return
        judged = self.health.judged(read.value.vm, read.value.epoch)
        if judged is None or judged.consequence is Consequence.NONE:
            raise Lost("it is well again")
        is_start = judged.consequence is Consequence.START_FAILED
        await self._end(read, RunEnd.START_FAILED if is_start else RunEnd.CRASHED, judged.why)

    async def _end(self, read: Stored[Placement], ended: RunEnd, why: str, *, leaves: bool = False) -> None:
        vm = read.value.vm
        await self.claims.tell("unwell", f"it is ended on {self.ports.node}: {why}", vm)
        self.remember(vm, read.modified, ended, why, leaves=leaves)
        await self.ports.hypervisor.destroy(vm)

    def remember(self, vm: VmName, under: Revision, ended: RunEnd, why: str, *, leaves: bool = False) -> None:
        """It is about to be ended under the placement of this revision, and why."""
        self._ended[vm] = EndedByUs(under=under, ended=ended, why=why, leaves=leaves)

    async def resume(self, read: Stored[Placement]) -> None:
        """As an arrival is let go: under our claim, with time left before the guard's deadline.

        Raises: Lost: it is not to go on now.
        """
        vm = read.value.vm
        reaction = self.pauses.reaction(vm)
        if reaction.deed is not Deed.RESUME or not self.ports.keeper.may_start():
            raise Lost("it is not to be resumed now")
        if self.pauses.tried(vm):
            await self.claims.tell("resumed", f"it is resumed on {self.ports.node}: {reaction.why}", vm)
        await self.ports.hypervisor.resume(vm)

    def find_ending(self, read: Stored[Placement], wall: float) -> tuple[RunEnd, str, Failure | None] | None:
        """How the run ended that this agent has ended, and what makes its node rest before it is tried there again."""
        ours = self._ended.get(read.value.vm)
        if ours is None or ours.under != read.modified:
            return None
        rests = ours.leaves or ours.ended is RunEnd.START_FAILED
        return ours.ended, ours.why, Failure(node=self.ports.node, at=wall, error=ours.why) if rests else None
