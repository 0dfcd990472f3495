"""How the cluster's own rebalancing goes, for ``vmha status``: what is on its way, or what holds the next move."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vmha.model.ids import VmName
from vmha.model.records import Phase
from vmha.policy.placing.field import Field
from vmha.policy.rebalance import RULE, find_shift
from vmha.policy.state.census import take
from vmha.policy.state.snapshot import Snapshot


class Rebalancing(StrEnum):
    MOVING = "moving"
    NEXT = "next"  # a move is to be made as soon as nothing else is under way
    HELD = "held"  # by hold_s, or until a window of some vm opens
    AT_REST = "at rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class RebalanceLine:
    """``vms``: those that are on their way by it. ``text``: where to, or the loads. ``left_s``: of what holds it."""

    state: Rebalancing
    vms: tuple[VmName, ...] = ()
    text: str = ""
    left_s: float | None = None

    def __str__(self) -> str:
        match self.state:
            case Rebalancing.MOVING:
                return f"rebalance: {self.text}"
            case Rebalancing.NEXT:
                return f"rebalance: {self.text}; when nothing else is under way"
            case Rebalancing.HELD:
                return f"rebalance: the next move is in {self.left_s:.0f} s at the earliest (hold_s, or a window)"
            case _:
                return "rebalance: no node is to be relieved"


def rebalance_line(snapshot: Snapshot, ground: Field) -> RebalanceLine | None:
    """None: the cluster does not rebalance by itself."""
    if not snapshot.config.rebalance.enabled:
        return None
    moving = [
        (name, view.placement.value)
        for name, view in sorted(snapshot.vms.items())
        if view.placement
        and view.placement.value.reason.rule == RULE
        and (view.placement.value.phase is Phase.MIGRATING or view.placement.value.arrival)
    ]
    if moving:
        said = ", ".join(f"{name} {held.node} -> {held.target or held.node}" for name, held in moving)
        return RebalanceLine(state=Rebalancing.MOVING, vms=tuple(name for name, _ in moving), text=said)
    found, left_s = find_shift(ground, take(snapshot.vms))
    if found is not None:
        return RebalanceLine(state=Rebalancing.NEXT, text=f"{found.vm} to {found.target}: {found}")
    if left_s is not None:
        return RebalanceLine(state=Rebalancing.HELD, left_s=left_s)
    return RebalanceLine(state=Rebalancing.AT_REST)


def as_plain(line: RebalanceLine) -> dict[str, Any]:
    return {"state": line.state, "vms": list(line.vms), "text": str(line), "left_s": line.left_s}
