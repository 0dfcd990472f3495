"""What an operator says about nodes: drained or not, and that one is surely powered off."""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from vmha.model.document import in_words
from vmha.model.errors import Rejected
from vmha.model.ids import NodeName
from vmha.model.keys import encode
from vmha.model.records import Phase, Request, Verb
from vmha.model.vm import NodeSpec
from vmha.operator import defined, hand
from vmha.operator.apply import MOST_OPS
from vmha.operator.client import Edit, OperatorClient, Reading
from vmha.operator.errors import unknown_name
from vmha.operator.reasons import checked_reason
from vmha.operator.requests import submit
from vmha.policy.state.snapshot import NodeView, Snapshot
from vmha.store.port import Delete, Put


async def drain(client: OperatorClient, name: str, *, why: str = "") -> NodeSpec:
    """Send a node's vms elsewhere by migration and let none come, until ``undrain``."""
    why = checked_reason(why)
    text = hand.because(f"drained by {client.author}", why)
    return await _set(client, name, why, maintenance=True, maintenance_why=text)


async def undrain(client: OperatorClient, name: str) -> NodeSpec:
    """Let vms come again."""
    return await _set(client, name, "", maintenance=False, maintenance_why="")


async def label(client: OperatorClient, name: str, put: Mapping[str, str], remove: Collection[str] = ()) -> NodeSpec:
    """Add or change labels, and take some away. No vm moves for it.

    Raises:
        Rejected: a label that is to be taken away is not there, or what comes out is no set of labels.
    """

    def decide(reading: Reading) -> Edit[NodeSpec]:
        view = find_node(reading.snapshot, name)
        old = view.spec.value if view.spec else NodeSpec(name=name)
        for one in remove:
            if one not in old.labels:
                raise unknown_name(f"label of {name}", one, old.labels)
        labels = {key: value for key, value in {**old.labels, **put}.items() if key not in remove}
        try:
            new = NodeSpec.model_validate({**old.model_dump(), "labels": dict(sorted(labels.items()))})
        except ValidationError as error:
            raise in_words(error, where=f"node {name}") from error
        if new.labels == old.labels:
            return Edit(result=old)
        key = client.keys.node_spec(view.name)
        told = [defined.put("node", name, old, new, client.author)]
        return Edit(result=new, ops=[Put(key, encode(new))], compares=[reading.unchanged(key)], told=told)

    return await client.change(decide, about=client.keys.node(NodeName(name)))


async def confirm_off(client: OperatorClient, name: str) -> Request:
    """An operator's word that a node is powered off: its vms are recovered on it. Wrong, it makes vms run twice."""
    return await submit(client, Verb.CONFIRM_OFF, node=name)


async def remove(client: OperatorClient, name: str) -> None:
    """Forget a node that is gone for good: what is said of it, and what it last said of itself.

    What it said of more vms than one transaction takes goes first: until the last part is done the node is listed.

    Raises:
        Rejected: it has a session, or a vm may still run on it, or a failover domain names it.
    """

    def decide(reading: Reading) -> Edit[bool]:
        view = find_node(reading.snapshot, name)
        if why := _why_not_removed(view, reading.snapshot):
            raise Rejected(f"{name} can not be removed: {why[0]}", accepted=why[1])
        keys = client.keys
        known = [keys.node_spec(view.name), keys.node_status(view.name), keys.fence_attempt(view.name)]
        # A beat that is there by now is a session: whoever has one may be given vms, and has not gone.
        compares = [reading.unchanged(key) for key in (*known, keys.beat(view.name))]
        said = [keys.observation(view.name, vm.name) for vm in reading.snapshot.vms.values() if view.name in vm.seen]
        is_last = len(known) + len(said) <= MOST_OPS
        forgotten = (*known, *said) if is_last else said[:MOST_OPS]
        told = [defined.removed("node", name, client.author)] if is_last else []
        return Edit(result=is_last, ops=[Delete(key) for key in forgotten], compares=compares, told=told)

    while not await client.change(decide):
        pass


def _why_not_removed(view: NodeView, snapshot: Snapshot) -> tuple[str, str] | None:
    """What stands in the way, and what would do."""
    if view.beat is not None or view.session is not None:
        return "it has a session", "a node that is offline: stop its agent and its guard, or wait for its fencing"
    if held := vms_on(snapshot, view.name):
        return f"it holds {', '.join(held)}", f"vms that run elsewhere; if it is off: vmha node confirm-off {view.name}"
    if view.is_cut_off_its_storage:
        return "its storage access is cut off and not given back yet", "a node that has it again"
    domains = [one.name for one in snapshot.domains.values() if any(m.node == view.name for m in one.members)]
    if domains:
        return f"failover domain {', '.join(domains)} names it", "a node that none names: vmha domain add --replace"
    return None


def find_node(snapshot: Snapshot, name: str) -> NodeView:
    """Raises: UnknownName, with the near names."""
    view = snapshot.nodes.get(NodeName(name))
    if view is None:
        raise unknown_name("node", name, snapshot.nodes)
    return view


def vms_on(snapshot: Snapshot, name: str) -> list[str]:
    """vms that a node holds or is to hold; one that is on its way counts at both ends."""
    return sorted(
        vm.name
        for vm in snapshot.vms.values()
        if vm.placement
        and vm.placement.value.phase not in (Phase.STOPPED, Phase.DEPARTED)
        and name in (vm.placement.value.node, vm.placement.value.target)
    )


async def _set(client: OperatorClient, name: str, why: str, **fields: Any) -> NodeSpec:
    def decide(reading: Reading) -> Edit[NodeSpec]:
        view = find_node(reading.snapshot, name)
        old = view.spec.value if view.spec else NodeSpec(name=name)
        if old.maintenance == fields["maintenance"]:
            return Edit(result=old)
        new = old.model_copy(update=fields)
        key = client.keys.node_spec(view.name)
        told = hand.drained(old, new, client.author, why)
        return Edit(result=new, ops=[Put(key, encode(new))], compares=[reading.unchanged(key)], told=told)

    return await client.change(decide, about=client.keys.node(NodeName(name)))
