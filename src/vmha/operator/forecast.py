"""What would happen: the leader's own plans on what is supposed, in sentences and for programs."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vmha.model.errors import Rejected
from vmha.model.ids import NodeName, VmName
from vmha.model.vm import Desired
from vmha.operator.errors import unknown_name
from vmha.policy.members.membership import moment_of_one_reading
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.state.steps import Change
from vmha.policy.state.supposing import NodeDrained, NodeLost, NodeUndrained, Supposition, VmWanted, suppose
from vmha.policy.telling.any_loss import NodeLoss, of_each
from vmha.policy.telling.forecast import Forecast, Move, foresee

ACCEPTED = (
    "'node NAME lost', 'node NAME drained', 'node NAME undrained', 'vm NAME running', 'vm NAME stopped', "
    "'vm NAME disabled', 'any node lost'"
)
ANY_NODE_LOST = "any node lost"

NAMED_AT_MOST = 20
"""Nodes whose loss costs nothing, told one by one."""

_ABOUT_NODES: dict[str, Callable[..., Supposition]] = {
    "lost": NodeLost,
    "drained": NodeDrained,
    "undrained": NodeUndrained,
}
_WANTED = {desired.value: desired for desired in (Desired.RUNNING, Desired.STOPPED, Desired.DISABLED)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """``supposed``: in the operator's words. ``any_lost``: for each node, what its loss would bring on top."""

    supposed: tuple[str, ...]
    forecast: Forecast
    any_lost: dict[NodeName, NodeLoss] | None = None


def tell(snapshot: Snapshot, supposed: Sequence[str], *, wall: float) -> Foretold:
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
    return Foretold(
        supposed=tuple(" ".join(text.split()) for text in supposed),
        forecast=found,
        any_lost=of_each(found, moment) if asks_any else None,
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
    near = difflib.get_close_matches(" ".join(words), _sayable(words, snapshot), n=1, cutoff=0.7)
    meant = f": did you mean {near[0]!r}?" if near else ""
    raise Rejected(f"--if {text!r} can not be supposed{meant}", accepted=ACCEPTED)


def _sayable(words: Sequence[str], snapshot: Snapshot) -> Iterator[str]:
    """What might have been meant, with a name out of the words, or one near to it."""
    yield ANY_NODE_LOST
    nodes, vms = map(str, snapshot.nodes), [str(vm.name) for vm in snapshot.vms.values() if vm.spec]
    for kind, known, ends in (("node", list(nodes), _ABOUT_NODES), ("vm", vms, _WANTED)):
        names = {name for word in words for name in difflib.get_close_matches(word, known, n=1)}
        yield from (f"{kind} {name} {end}" for name in sorted(names) for end in ends)


def is_all_well(told: Foretold) -> bool:
    """Every vm that is wanted running would run: in the end, and whichever node were lost, if that was asked."""
    lost = (told.any_lost or {}).values()
    return not told.forecast.down and not any(loss.down or not loss.is_known for loss in lost)


def sentences(told: Foretold, *, at_most: int | None = None) -> list[str]:
    """For people. ``at_most``: so many moves, and vms that would not run, are told one by one."""
    lines = [f"Supposed: {text}." for text in told.supposed if text != ANY_NODE_LOST]
    lines += _of(told.forecast, at_most)
    if told.any_lost is not None:
        lines += _of_each(told)
    return lines


def as_plain(told: Foretold) -> dict[str, Any]:
    """For programs."""
    plain: dict[str, Any] = {"supposed": list(told.supposed), **_plain(told.forecast)}
    if told.any_lost is not None:
        plain["any_node_lost"] = [_plain_loss(node, loss) for node, loss in sorted(told.any_lost.items())]
    return plain


def _cut(lines: list[str], at_most: int | None, what: str) -> list[str]:
    if at_most is None or len(lines) <= at_most:
        return lines
    return [*lines[:at_most], f"... and {len(lines) - at_most} {what} (--all)."]


def _names(names: Sequence[str], at_most: int | None) -> str:
    more = f" and {len(names) - at_most} more" if at_most is not None and len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more


def _of(forecast: Forecast, at_most: int | None) -> list[str]:
    lines = _cut([_sentence(move) for move in forecast.moves], at_most, "moves more")
    if not lines:
        lines.append("Nothing would be started, stopped or moved.")
    elif gaps := forecast.interrupted:
        lines.append(f"Interrupted would be {_names(gaps, at_most)}: ended, and booted anew.")
    else:
        lines.append("No guest would be interrupted.")
    lines += _cut([f"{one.vm} would not run: {one.text}." for one in forecast.down], at_most, "more would not run")
    if not forecast.ends:
        lines.append("This goes on without end: it was given up here.")
    return lines


def _of_each(told: Foretold) -> list[str]:
    assert told.any_lost is not None
    if not told.any_lost:
        return ["No node is there that could be lost."]
    lines, well, unknown = [], [], []
    for node, loss in sorted(told.any_lost.items()):
        if loss.down:
            doubt = "" if loss.is_certain else " (not for certain)"
            lines.append(f"If {node} were lost, {', '.join(one.vm for one in loss.down)} would not come back{doubt}:")
            lines += [f"  {one.vm}: {one.text}." for one in loss.down]
        elif not loss.is_known:
            unknown.append(node)
        elif loss.is_certain:
            well.append(node)
        else:
            lines.append(f"If {node} were lost, every vm would come back (not for certain).")
    if len(well) <= NAMED_AT_MOST:
        lines += [f"If {node} were lost, every vm would come back." for node in well]
    else:
        others = f"the other {len(well)}" if lines else str(len(well))
        lines.append(f"If any one of {others} nodes were lost, every vm would come back.")
    if unknown:
        whose = f"the loss of {_names(unknown, 3)}"
        lines.append(f"What {whose} would cost takes too long to be found out for each (--if 'node NAME lost').")
    return lines


def _plain_loss(node: NodeName, loss: NodeLoss) -> dict[str, Any]:
    """Without a forecast: moves are not known, and not needed to know that every vm finds room."""
    found = _plain(loss.forecast) if loss.forecast else {"moves": None, "interrupted": None, "ends": True}
    down = found.get("down", [{"vm": one.vm, "waits_for": one.text} for one in loss.down])
    survives = not loss.down if loss.is_known else None
    return {"node": node, "survives": survives, "certain": loss.is_certain, **found, "down": down}


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
