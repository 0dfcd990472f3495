"""Whether the loss of any one node would be survived, in a line and for programs; what a change costs of it."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from vmha.model.clock import Clock, Patience
from vmha.model.ids import NodeName, VmName
from vmha.model.vm import Desired
from vmha.operator.client import OperatorClient
from vmha.policy.members.membership import moment_of_one_reading
from vmha.policy.state.snapshot import Snapshot, VmView
from vmha.policy.state.supposing import NodeDrained, NodeUndrained, Supposition, VmWanted, suppose
from vmha.policy.telling.forecast import foresee
from vmha.policy.telling.survival import NO_LIMIT, Loss, Survival, survival
from vmha.policy.telling.survival_words import in_one_line, not_known, of_losses

__all__ = ["as_plain", "cost", "cost_of_drain", "cost_of_start", "in_one_line"]

PATIENCE_S = 2.0
"""A verb looks at what it costs for so long, status at what there is: enough wherever there is room, and for some nodes
where there is not."""


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


def cost(before: Snapshot, after: Snapshot, clock: Clock, *, patience_s: float = PATIENCE_S) -> list[str]:
    """Warnings: losses that were survived before the change, or would have cost fewer vms; and what is not known.

    Of what was before, only the losses that cost something afterwards are asked about. In a large cluster without room
    the time is not enough for all nodes: those that the change brings vms to are looked at before the others.
    """
    if before == after:
        return []
    then, was = _in_the_end(after, clock), _in_the_end(before, clock)
    found = _look(then, clock, patience_s / 2, first=_nodes_with_more(was, then))
    unknown = set(found.unknown)
    new: list[Loss] = []
    if found.losses:
        known = _look(was, clock, patience_s / 2, only=[loss.node for loss in found.losses])
        unknown.update(known.unknown)
        old = {loss.node: {one.vm for one in loss.vms} for loss in known.losses}
        for loss in found.losses:
            more = tuple(one for one in loss.vms if one.vm not in old.get(loss.node, ()))
            if more and loss.node not in unknown:
                new.append(replace(loss, vms=more))
    new.sort(key=lambda loss: (-len(loss.vms), loss.node))
    said = [f"with this the cluster would not survive {of_losses(new)}"] if new else []
    rest = not_known(replace(found, unknown=tuple(sorted(unknown))))
    return [*said, f"what this costs of surviving {rest}"] if rest else said


def _in_the_end(snapshot: Snapshot, clock: Clock) -> Snapshot:
    return foresee(snapshot, moment_of_one_reading(snapshot, wall=clock.wall())).then


def _look(
    snapshot: Snapshot,
    clock: Clock,
    patience_s: float,
    *,
    only: Collection[NodeName] | None = None,
    first: Collection[NodeName] = (),
) -> Survival:
    goes_on, moment = Patience(clock, patience_s), moment_of_one_reading(snapshot, wall=clock.wall())
    return survival(snapshot, moment, look_at_most=NO_LIMIT, only=only, first=first, goes_on=goes_on)


def _nodes_with_more(before: Snapshot, after: Snapshot) -> set[NodeName]:
    """Where a vm is that was not there before."""
    found = set()
    for name, vm in after.vms.items():
        node, old = _node_of(vm), before.vms.get(name)
        if vm is not old and node is not None and node != (_node_of(old) if old else None):
            found.add(node)
    return found


def _node_of(vm: VmView) -> NodeName | None:
    return vm.placement.value.node if vm.placement else None


async def cost_of_start(client: OperatorClient, name: str) -> list[str]:
    """That this vm runs, whether it does already or is still to be started. Nothing of one that is not there."""
    return _cost_between(
        await client.read(), _wanted(name, Desired.STOPPED), _wanted(name, Desired.RUNNING), client.clock
    )


async def cost_of_drain(client: OperatorClient, name: str) -> list[str]:
    """That this node takes no vms."""
    return _cost_between(
        await client.read(), NodeUndrained(node=NodeName(name)), NodeDrained(node=NodeName(name)), client.clock
    )


def _wanted(name: str, desired: Desired) -> VmWanted:
    return VmWanted(vm=VmName(name), desired=desired)


def _cost_between(snapshot: Snapshot, before: Supposition, after: Supposition, clock: Clock) -> list[str]:
    return cost(suppose(snapshot, before), suppose(snapshot, after), clock)
