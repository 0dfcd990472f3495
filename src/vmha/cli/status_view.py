"""The cluster at a glance, as text: warnings first, then nodes, then vms with their reasons.

Imports no command-line library: ``vmha status`` runs without one (see ``main``).
"""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from vmha.cli.chosen import AS_IT_IS, Chosen, pick
from vmha.cli.output import Cell, Screen, packed, screen, show, show_json, table, when, wrapped
from vmha.model.durations import ago, in_words

if TYPE_CHECKING:
    from vmha.cli.connect import Place
    from vmha.model.holds import Hold
    from vmha.operator.client import OperatorClient
    from vmha.operator.overview import NodeLine, Overview
    from vmha.policy.telling.explain import VmSummary

WARNINGS_AT_MOST = 40


def show_status(place: "Place", *, as_json: bool, chosen: Chosen = AS_IT_IS) -> None:
    """One reading, printed."""
    from vmha.cli.connect import run
    from vmha.operator.overview import as_plain

    shown = run(place, look)
    if as_json:
        part = pick(shown, chosen, None)
        show_json(as_plain(replace(shown, nodes=part.nodes, vms=part.vms)))
    else:
        show(render(shown, screen(), chosen=chosen))


async def look(client: "OperatorClient") -> "Overview":
    """The cluster as it is now."""
    from vmha.operator.overview import overview

    snapshot, alarms = await asyncio.gather(client.read(), client.alarms())
    clock = client.clock
    return overview(
        snapshot,
        cluster=client.keys.cluster,
        wall=clock.wall(),
        alarms=alarms,
        store_id=client.store.cluster_id,
        asks_survival=clock,
    )


def render(shown: "Overview", on: Screen, *, wall: float | None = None, chosen: Chosen = AS_IT_IS) -> list[str]:
    """The human form. ``wall`` (seconds since 1970) dates the leader; without it the age is left out."""
    part = pick(shown, chosen, on)
    lines = [on.paint(line, "bold") for line in packed(_header(shown, wall), on)]
    if shown.pause is not None:
        lines += [on.paint(line, "yellow") for line in wrapped(_paused(shown.pause), on)]
    lines += _survival(shown, on)
    lines += wrapped(str(shown.rebalance), on) if shown.rebalance else []
    at_most = WARNINGS_AT_MOST if on.width is not None and not chosen.every else len(shown.warnings)
    for warning in shown.warnings[:at_most]:
        lines += [on.paint(line, "red") for line in wrapped(f"! {warning}", on, hang="  ")]
    if len(shown.warnings) > at_most:
        lines.append(on.paint(f"! ... and {len(shown.warnings) - at_most} more (--all)", "red"))
    if part.nodes or part.of_nodes:
        lines += ["", *_cut_down(node_table(part.nodes, on, of=shown.nodes), part.of_nodes, on)]
    if part.vms or part.of_vms:
        lines += ["", *_cut_down(vm_table(part.vms, on), part.of_vms, on)]
    if not shown.nodes:
        lines += ["", "No node has joined yet: start the agent on each host (vmha agent)."]
    elif not shown.vms:
        lines += ["", "No vm yet: vmha vm add NAME --xml FILE"]
    elif not part.vms and not part.of_vms:
        lines += ["", "No vm is there in such a state."]
    return lines


def _cut_down(table_of: list[str], said: str, on: Screen) -> list[str]:
    """A table, and how much of it is not shown; of an empty one only that."""
    rows = table_of if len(table_of) > 1 else []
    return [*rows, *(on.paint(line, "dim") for line in wrapped(said, on) if said)]


def _survival(shown: "Overview", on: Screen) -> list[str]:
    """One line: N+1."""
    from vmha.operator.survival import in_one_line

    said = in_one_line(shown.survival) if shown.survival else ""
    colour = "green" if shown.survival and shown.survival.survives else "yellow"
    return [on.paint(line, colour) for line in wrapped(said, on)] if said else []


def node_table(nodes: "tuple[NodeLine, ...]", on: Screen, *, of: "tuple[NodeLine, ...]" = ()) -> list[str]:
    """On a screen a note that several nodes have is said once, below; in a pipe each line says all of its node.

    ``of``: all nodes, where these are a part of them.
    """
    shared = _shared_notes(of or nodes) if on.width is not None else {}
    versions = {node.version for node in of or nodes if node.version}
    rows = [
        (
            node.name,
            Cell(node.condition, _NODE_COLOURS.get(node.condition, "red")),
            node.armed,
            str(node.vms),
            _of(node.memory_used_mib, node.memory_for_vms_mib),
            _of(node.vcpus_used, node.vcpus_for_vms),
            node.address or "-",
            "; ".join(
                said
                for said in (_version(node, versions), node.why_not, node.fencing, *node.notes)
                if said and said not in shared
            ),
        )
        for node in nodes
    ]
    headers = ("NODE", "CONDITION", "FENCE", "VMS", "MEMORY MIB", "VCPUS", "ADDRESS", "REMARK")
    lines = table(headers, rows, on, numbers=("VMS", "MEMORY MIB", "VCPUS"))
    for note, whose in shared.items():
        lines += [on.paint(line, "yellow") for line in wrapped(f"{whose}: {note}", on, hang="  ")]
    return lines


def _shared_notes(nodes: "tuple[NodeLine, ...]") -> dict[str, str]:
    """Note, and whose it is."""
    whose: dict[str, list[str]] = {}
    for node in nodes:
        for note in node.notes:
            whose.setdefault(note, []).append(node.name)
    return {note: _names(names, len(nodes)) for note, names in whose.items() if len(names) > 1}


def _names(names: list[str], of: int) -> str:
    if len(names) == of:
        return "every node"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _version(node: "NodeLine", versions: set[str]) -> str:
    """Worth a remark while an upgrade is under way."""
    return f"vmha {node.version}" if node.version and len(versions) > 1 else ""


def _of(used: int, most: int) -> str:
    return f"{used}/{most}" if most else str(used or "-")


def vm_table(vms: "tuple[VmSummary, ...]", on: Screen) -> list[str]:
    rows = [
        (
            vm.name,
            Cell(f"{vm.state}, frozen" if vm.frozen else vm.state, _VM_COLOURS.get(vm.state, "red")),
            _where(vm),
            str(vm.epoch or "-"),
            _remark(vm),
        )
        for vm in vms
    ]
    return table(("VM", "STATE", "NODE", "EPOCH", "REASON"), rows, on, numbers=("EPOCH",))


_NODE_COLOURS = {"online": "green", "joining": "yellow", "maintenance": "yellow", "leaving": "yellow"}
_VM_COLOURS = {
    "running": "green",
    "stopped": "dim",
    "disabled": "dim",
    "starting": "cyan",
    "stopping": "cyan",
    "migrating": "cyan",
    "waiting": "yellow",
    "paused": "yellow",
    "recovering": "yellow",
    "unknown": "yellow",
    "unmanaged": "yellow",
}


def _remark(vm: "VmSummary") -> str:
    frozen = f"frozen by {vm.frozen}; " if vm.frozen and "is frozen by" not in vm.reason else ""
    waits = "; its new definition waits for a restart" if vm.needs_restart else ""
    return frozen + vm.reason + (f" ({vm.progress})" if vm.progress else "") + waits


def _paused(pause: "Hold") -> str:
    what = "PAUSED" if pause.mode == "all" else "STARTS ARE PAUSED"
    left = f", for {in_words(pause.for_s)} in all" if pause.for_s else ""
    return f"{what} by {pause.in_words} (since {when(pause.at)}{left}); lift it with: vmha resume"


def _where(vm: "VmSummary") -> str:
    if vm.target and vm.node and vm.target != vm.node:
        return f"{vm.node} -> {vm.target}"
    return vm.node or "-"


def _header(shown: "Overview", wall: float | None) -> list[str]:
    leader = "no leader"
    if shown.leader:
        since = f" for {ago(wall - shown.leader.since)}" if wall else ""
        leader = f"leader {shown.leader.node}{since}"
    online = sum(node.condition == "online" for node in shown.nodes)
    states = ", ".join(f"{number} {state}" for state, number in sorted(shown.count().items())) or "none"
    return [f"cluster {shown.cluster}: {leader}", f"nodes: {online} of {len(shown.nodes)} online", f"vms: {states}"]
