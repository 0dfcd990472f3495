"""Whether the loss of any one node would be survived, in a line and for programs; what a change costs of it."""

from typing import Any

from vmha.model.ids import NodeName, VmName
from vmha.model.vm import Desired
from vmha.operator.client import OperatorClient
from vmha.policy.forecast import foresee
from vmha.policy.membership import moment_of_one_reading
from vmha.policy.snapshot import Snapshot
from vmha.policy.supposing import NodeDrained, NodeUndrained, Supposition, VmWanted, suppose
from vmha.policy.survival import Loss, Survival, survival
from vmha.policy.survival_words import in_one_line, of_losses

__all__ = ["as_plain", "cost", "cost_of_drain", "cost_of_start", "in_one_line"]

COMPARED_AT_MOST = 2000
"""Vms of a cluster in which a verb forecasts what it costs: in a larger one that takes seconds, and status tells."""


def as_plain(found: Survival) -> dict[str, Any]:
    """``survives`` null: not known."""
    return {
        "survives": found.survives,
        "text": in_one_line(found),
        "losses": [_plain(loss) for loss in found.losses],
        "not_certain": list(found.unsure),
        "not_looked_at": list(found.unknown),
        "on_their_way": found.on_their_way,
    }


def _plain(loss: Loss) -> dict[str, Any]:
    return {
        "node": loss.node,
        "certain": loss.is_certain,
        "vms": [{"vm": one.vm, "waits_for": one.text} for one in loss.vms],
    }


# --- what a change would cost


def cost(before: Snapshot, after: Snapshot, *, wall: float) -> list[str]:
    """Warnings: losses that were survived before the change, or would have cost fewer vms."""
    if len(after.vms) > COMPARED_AT_MOST or before == after:
        return []
    old = {loss.node: {one.vm for one in loss.vms} for loss in _in_the_end(before, wall).losses}
    new = [
        Loss(node=loss.node, vms=more, is_certain=loss.is_certain)
        for loss in _in_the_end(after, wall).losses
        if (more := tuple(one for one in loss.vms if one.vm not in old.get(loss.node, ())))
    ]
    new.sort(key=lambda loss: (-len(loss.vms), loss.node))
    return [f"with this the cluster would not survive {of_losses(new)}"] if new else []


def _in_the_end(snapshot: Snapshot, wall: float) -> Survival:
    moment = moment_of_one_reading(snapshot, wall=wall)
    return survival(foresee(snapshot, moment).then, moment)


async def cost_of_start(client: OperatorClient, name: str) -> list[str]:
    """That this vm runs, whether it does already or is still to be started. Nothing of one that is not there."""
    return _cost_between(
        await client.read(), _wanted(name, Desired.STOPPED), _wanted(name, Desired.RUNNING), client.clock.wall()
    )


async def cost_of_drain(client: OperatorClient, name: str) -> list[str]:
    """That this node takes no vms."""
    return _cost_between(
        await client.read(), NodeUndrained(node=NodeName(name)), NodeDrained(node=NodeName(name)), client.clock.wall()
    )


def _wanted(name: str, desired: Desired) -> VmWanted:
    return VmWanted(vm=VmName(name), desired=desired)


def _cost_between(snapshot: Snapshot, before: Supposition, after: Supposition, wall: float) -> list[str]:
    return cost(suppose(snapshot, before), suppose(snapshot, after), wall=wall)
