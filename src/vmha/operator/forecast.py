"""What would happen: the leader's own plans on what is supposed, in sentences and for programs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vmha.model.errors import Rejected
from vmha.model.ids import NodeName, VmName
from vmha.model.vm import Desired
from vmha.operator.errors import unknown_name
from vmha.policy.forecast import Forecast, Move, foresee, losses
from vmha.policy.membership import moment_of_one_reading
from vmha.policy.snapshot import Snapshot
from vmha.policy.steps import Change, Waiting
from vmha.policy.supposing import NodeDrained, NodeLost, NodeUndrained, Supposition, VmWanted, suppose

ACCEPTED = (
    "'node NAME lost', 'node NAME drained', 'node NAME undrained', 'vm NAME running', 'vm NAME stopped', "
    "'vm NAME disabled', 'any node lost'"
)
ANY_NODE_LOST = "any node lost"

_ABOUT_NODES: dict[str, Callable[..., Supposition]] = {
    "lost": NodeLost,
    "drained": NodeDrained,
    "undrained": NodeUndrained,
}
_WANTED = {desired.value: desired for desired in (Desired.RUNNING, Desired.STOPPED, Desired.DISABLED)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """``supposed``: in the operator's words. ``any_lost``: for each node, what its loss would bring on top."""

    supposed: tuple[str, ...]
    forecast: Forecast
    any_lost: dict[NodeName, Forecast] | None = None


def tell(snapshot: Snapshot, supposed: Sequence[str], *, wall: float) -> Told:
    """Raises:
    Rejected: a supposition that is none, or names what is not there.
    """
    moment = moment_of_one_reading(snapshot, wall=wall)
    asks_any = False
    for text in supposed:
        what = parse(text, snapshot)
        if what is None:
            asks_any = True
        else:
            snapshot = suppose(snapshot, what)
    found = foresee(snapshot, moment)
    return Told(
        supposed=tuple(" ".join(text.split()) for text in supposed),
        forecast=found,
        any_lost=losses(found.then, moment) if asks_any else None,
    )


def parse(text: str, snapshot: Snapshot) -> Supposition | None:
    """One ``--if``. None: the loss of any one node.

    Raises:
        Rejected: naming what is accepted, or the near names.
    """
    words = text.split()
    if " ".join(words) == ANY_NODE_LOST:
        return None
    match words:
        case ["node", name, what] if what in _ABOUT_NODES:
            if NodeName(name) not in snapshot.nodes:
                raise unknown_name("node", name, snapshot.nodes)
            return _ABOUT_NODES[what](node=NodeName(name))
        case ["vm", name, what] if what in _WANTED:
            vms = [vm.name for vm in snapshot.vms.values() if vm.spec]
            if VmName(name) not in vms:
                raise unknown_name("vm", name, vms)
            return VmWanted(vm=VmName(name), desired=_WANTED[what])
    raise Rejected(f"--if {text!r} can not be supposed", accepted=ACCEPTED)


def is_all_well(told: Told) -> bool:
    """Every vm that is wanted running would run: in the end, and whichever node were lost, if that was asked."""
    lost = (told.any_lost or {}).values()
    return not told.forecast.down and not any(found.down for found in lost)


def sentences(told: Told) -> list[str]:
    """For people."""
    lines = [f"Supposed: {text}." for text in told.supposed if text != ANY_NODE_LOST]
    lines += _of(told.forecast)
    if told.any_lost is not None:
        lines += _of_each(told)
    return lines


def as_plain(told: Told) -> dict[str, Any]:
    """For programs."""
    plain: dict[str, Any] = {"supposed": list(told.supposed), **_plain(told.forecast)}
    if told.any_lost is not None:
        before = {one.vm for one in told.forecast.down}
        plain["any_node_lost"] = [
            {"node": node, "survives": not _more(found, before), **_plain(found)}
            for node, found in sorted(told.any_lost.items())
        ]
    return plain


def _of(forecast: Forecast) -> list[str]:
    lines = [_sentence(move) for move in forecast.moves]
    if not lines:
        lines.append("Nothing would be started, stopped or moved.")
    elif gaps := forecast.interrupted:
        lines.append(f"Interrupted would be {', '.join(gaps)}: ended, and booted anew.")
    else:
        lines.append("No guest would be interrupted.")
    lines += [f"{one.vm} would not run: {one.text}." for one in forecast.down]
    if not forecast.ends:
        lines.append("This goes on without end: it was given up here.")
    return lines


def _of_each(told: Told) -> list[str]:
    assert told.any_lost is not None
    before = {one.vm for one in told.forecast.down}
    if not told.any_lost:
        return ["No node is there that could be lost."]
    lines = []
    for node, found in sorted(told.any_lost.items()):
        more = _more(found, before)
        if more:
            lines.append(f"If {node} were lost, {', '.join(one.vm for one in more)} would not come back:")
            lines += [f"  {one.vm}: {one.text}." for one in more]
        else:
            lines.append(f"If {node} were lost, every vm would come back.")
    return lines


def _more(forecast: Forecast, before: Iterable[VmName]) -> list[Waiting]:
    return [one for one in forecast.down if one.vm not in before]


def _sentence(move: Move) -> str:
    why = f": {move.reason.text}." if move.reason.text else "."
    match move.change:
        case Change.MIGRATE:
            return f"{move.vm} would be migrated from {move.source} to {move.target}{why}"
        case Change.ADOPT:
            return f"{move.vm} would be adopted on {move.target}{why}"
        case Change.STOP | Change.WITHDRAW | Change.RELEASE:
            return f"{move.vm} would be stopped on {move.source}{why}" if move.source else f"{move.vm} would stop{why}"
        case Change.RECOVER:
            return f"{move.vm} would be recovered from {move.source} on {move.target}, booting anew{why}"
        case _:
            return f"{move.vm} would be started on {move.target}{why}"


def _plain(forecast: Forecast) -> dict[str, Any]:
    return {
        "moves": [
            {
                "vm": move.vm,
                "change": move.change.value,
                "from": move.source,
                "to": move.target,
                "live": move.is_live,
                "rule": move.reason.rule,
                "reason": move.reason.text,
            }
            for move in forecast.moves
        ],
        "interrupted": list(forecast.interrupted),
        "down": [{"vm": one.vm, "waits_for": one.text} for one in forecast.down],
        "ends": forecast.ends,
    }
