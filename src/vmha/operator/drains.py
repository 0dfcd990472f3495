"""A drain from its pre-check to its end: what can not leave, how far it is, and what comes back afterwards."""

from collections.abc import Sequence
from typing import Any

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, Request, Verb
from vmha.operator.client import OperatorClient
from vmha.operator.errors import RefusedByCluster
from vmha.operator.nodes import find_node, undrain, vms_on
from vmha.operator.requests import submit
from vmha.policy.deciding.drain import away_from
from vmha.policy.members.membership import counted, moment_of_one_reading
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.state.steps import Waiting
from vmha.policy.telling.drain_check import cannot_leave

NAMED = 5


async def check(client: OperatorClient, name: str) -> list[Waiting]:
    """What a drain would leave on the node, before anything is done.

    Raises: UnknownName.
    """
    snapshot = await client.read()
    node = find_node(snapshot, name).name
    return cannot_leave(snapshot, node, moment_of_one_reading(snapshot, wall=client.clock.wall()))


def in_words(name: str, left: Sequence[Waiting]) -> str:
    """One line for each."""
    lines = [f"{counted(len(left), 'vm')} can not leave {name}:"]
    return "\n".join([*lines, *(f"  {one.vm}: {one.text}" for one in left)])


def as_plain(left: Sequence[Waiting]) -> list[dict[str, Any]]:
    return [{"vm": one.vm, "why": one.text} for one in left]


def how_far(node: str, snapshot: Snapshot) -> str:
    """What is left on a node that is drained, vm by vm: on its way, and how far; or what it waits for."""
    left = vms_on(snapshot, node)
    if not left:
        return ""
    # Those that move come first: of many waiting ones the first few say enough.
    left.sort(key=lambda name: (not _is_moving(snapshot, name), name))
    said = "; ".join(_of_vm(name, node, snapshot) for name in left[:NAMED])
    return f"{len(left)} still on {node}: {said}" + ("; ..." if len(left) > NAMED else "")


def _is_moving(snapshot: Snapshot, name: str) -> bool:
    placement = snapshot.vms[VmName(name)].placement
    return placement is not None and placement.value.phase is Phase.MIGRATING


def _of_vm(name: str, node: str, snapshot: Snapshot) -> str:
    vm = snapshot.vms[VmName(name)]
    assert vm.placement
    held = vm.placement.value
    if held.phase is Phase.MIGRATING:
        seen = vm.seen.get(held.node) if held.node else None
        progress = (seen.progress or str(seen.migration or "")) if seen else ""
        return f"{name} to {held.target}" + (f" ({progress})" if progress else "")
    if vm.freeze:
        return f"{name} (frozen)"
    if held.ended_why and held.phase is Phase.HELD:
        return f"{name} (failed: {held.ended_why})"
    waits = held.phase is Phase.HELD and held.reason.rule in ("no-node-can-take-it", "room-is-made-for-it")
    return f"{name} ({held.reason.text})" if waits else name


async def bring_back(client: OperatorClient, name: str) -> tuple[list[Request], list[RefusedByCluster]]:
    """Let vms come to the node again, and ask for the migration of each that its drain took away.

    Returns:
        What was asked for, and what is refused at once; one that can not come back keeps no other from coming.

    Raises:
        UnknownName: no such node.
    """
    node = NodeName(name)
    await undrain(client, name)
    asked: list[Request] = []
    refused: list[RefusedByCluster] = []
    for vm in away_from(node, await client.read()):
        try:
            asked.append(await submit(client, Verb.MIGRATE, vm=vm, node=name))
        except RefusedByCluster as error:
            refused.append(error)
    return asked, refused
