"""Whether the loss of any one node would be survived, in a line and for programs; what a change costs of it."""

from collections.abc import Iterable, Sequence
from typing import Any

from vmha.model.ids import NodeName, VmName
from vmha.model.vm import Desired
from vmha.operator.client import OperatorClient
from vmha.policy.affinity import BY_RULE
from vmha.policy.exclusive import IS_EXCLUSIVE, WANTS_TO_BE_ALONE
from vmha.policy.forecast import foresee
from vmha.policy.membership import counted, moment_of_one_reading
from vmha.policy.snapshot import Snapshot
from vmha.policy.steps import Waiting
from vmha.policy.supposing import NodeDrained, NodeUndrained, Supposition, VmWanted, suppose
from vmha.policy.survival import Loss, Survival, survival

SURVIVES = "survives the loss of any one node"
ASK = "vmha plan --if 'any node lost'"
NAMED_VMS, NAMED_NODES = 5, 4

COMPARED_AT_MOST = 2000
"""Vms of a cluster in which a verb forecasts what it costs: in a larger one that takes seconds, and status tells."""

_WORDS = {
    " MiB free of ": "memory",
    " vcpus free of ": "vcpus",
    BY_RULE: "rules",
    "restricted failover domain": "failover domain",
    IS_EXCLUSIVE: "exclusive vms",
    WANTS_TO_BE_ALONE: "exclusive vms",
    " of service ": "services",
}


def in_one_line(found: Survival) -> str:
    """'' where nothing runs."""
    if not found.running and not found.on_their_way:
        return ""
    if found.on_their_way:
        vms = "1 vm is" if found.on_their_way == 1 else f"{found.on_their_way} vms are"
        return f"whether it survives the loss of a node is not known yet: {vms} still to be placed"
    unknown = f"{counted(len(found.unknown), 'node')} not looked at ({ASK})" if found.unknown else ""
    if found.losses:
        return f"would not survive {of_losses(found.losses)}" + (f"; {unknown}" if unknown else "")
    if unknown:
        return f"{SURVIVES} as far as that was looked at: {unknown}"
    if found.unsure:
        return f"{SURVIVES}; of {_names(found.unsure, NAMED_NODES)} that is not certain ({ASK})"
    return SURVIVES


def of_losses(losses: Sequence[Loss]) -> str:
    """The loss of h2: db, mail would not come back (memory); nor the loss of h3 (app), h4 (app)."""
    worst, *others = losses
    names = _names([one.vm for one in worst.vms], NAMED_VMS)
    line = f"the loss of {worst.node}: {names} would not come back ({why(worst.vms)})"
    if others:
        named = [f"{loss.node} ({_names([one.vm for one in loss.vms], 2)})" for loss in others[:NAMED_NODES]]
        more = f" and {counted(len(others) - NAMED_NODES, 'node')} more" if len(others) > NAMED_NODES else ""
        line += f"; nor the loss of {', '.join(named)}{more}"
    return line


def why(vms: Iterable[Waiting]) -> str:
    """In a word or two what is lacking, what most nodes lack first; a vm that waits for something else says what."""
    counts: dict[str, int] = {}
    other = ""
    for one in vms:
        refusals = [candidate.refusal for candidate in one.candidates]
        words = [word for refusal in refusals for part, word in _WORDS.items() if part in refusal]
        for word in words:
            counts[word] = counts.get(word, 0) + 1
        if not words:
            other = other or ("no other node" if one.candidates else one.text)
    return ", ".join(sorted(counts, key=lambda word: (-counts[word], word))) or other


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


def _names(names: Sequence[str], most: int) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


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
