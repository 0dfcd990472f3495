"""``vmha status``: the whole cluster at a glance. Warnings first, then nodes, then vms with their reasons."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json, do, place_of
from vmha.cli.output import Cell, Screen, ago, screen, show, show_json, table

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient
    from vmha.operator.overview import NodeLine, Overview
    from vmha.policy.explain import VmSummary

app = typer.Typer(add_completion=False, rich_markup_mode=None)

REDRAW_S = 0.2
"""The screen is redrawn at most this often, however fast the cluster changes."""


@app.command()
def status(
    ctx: typer.Context,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay, and show every change (Ctrl-C ends it).")] = False,
) -> None:
    """Show leader, nodes, vms, and what needs attention."""
    from vmha.operator.overview import as_plain, overview

    if watch:
        _watch(ctx, as_json=as_json)
        return

    async def look(client: "OperatorClient") -> "Overview":
        return overview(await client.read(), cluster=client.keys.cluster, wall=client.clock.wall())

    shown = do(ctx, look)
    if as_json:
        show_json(as_plain(shown))
    else:
        show(render(shown, screen()))


def render(shown: "Overview", on: Screen, *, wall: float | None = None) -> list[str]:
    """The human form. ``wall`` (seconds since 1970) dates the leader; without it the age is left out."""
    lines = [_header(shown, on, wall)]
    lines += [on.paint(f"! {warning}", "red") for warning in shown.warnings]
    if shown.nodes:
        lines += ["", *node_table(shown.nodes, on)]
    if shown.vms:
        lines += ["", *vm_table(shown.vms, on)]
    if not shown.nodes:
        lines += ["", "No node has joined yet: start the agent on each host (vmha agent)."]
    elif not shown.vms:
        lines += ["", "No vm yet: vmha vm add NAME --xml FILE"]
    return lines


def node_table(nodes: "tuple[NodeLine, ...]", on: Screen) -> list[str]:
    rows = [
        (
            node.name,
            Cell(node.condition, _NODE_COLOURS.get(node.condition, "red")),
            node.armed,
            str(node.vms),
            f"{node.memory_used_mib}/{node.memory_mib}" if node.memory_mib else str(node.memory_used_mib or "-"),
            node.address or "-",
            "; ".join((*((node.why_not,) if node.why_not else ()), *node.notes)),
        )
        for node in nodes
    ]
    return table(("NODE", "CONDITION", "FENCE", "VMS", "MEMORY MIB", "ADDRESS", "REMARK"), rows, on)


def vm_table(vms: "tuple[VmSummary, ...]", on: Screen) -> list[str]:
    rows = [
        (
            vm.name,
            Cell(vm.state, _VM_COLOURS.get(vm.state, "red")),
            _where(vm),
            str(vm.epoch or "-"),
            vm.reason + (f" ({vm.progress})" if vm.progress else ""),
        )
        for vm in vms
    ]
    return table(("VM", "STATE", "NODE", "EPOCH", "REASON"), rows, on)


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
    "unmanaged": "yellow",
}


def _where(vm: "VmSummary") -> str:
    if vm.target and vm.node and vm.target != vm.node:
        return f"{vm.node} -> {vm.target}"
    return vm.node or "-"


def _header(shown: "Overview", on: Screen, wall: float | None) -> str:
    leader = "no leader"
    if shown.leader:
        since = f" for {ago(wall - shown.leader.since)}" if wall else ""
        leader = f"leader {shown.leader.node}{since}"
    online = sum(node.condition == "online" for node in shown.nodes)
    states = ", ".join(f"{number} {state}" for state, number in sorted(shown.count().items())) or "none"
    return (
        f"cluster {on.paint(shown.cluster, 'bold')}: {leader}; "
        f"nodes: {online} of {len(shown.nodes)} online; vms: {states}"
    )


def _watch(ctx: typer.Context, *, as_json: bool) -> None:
    """Draws the newest snapshot; while it is being drawn, older ones are passed over."""
    import json
    from contextlib import aclosing

    from vmha.cli.connect import unreachable
    from vmha.model.errors import Retryable
    from vmha.operator.overview import as_plain, overview
    from vmha.policy.snapshot import Snapshot

    async def follow(client: "OperatorClient") -> None:
        newest: list[Snapshot | str] = []
        news = asyncio.Event()

        async def collect() -> None:
            while True:
                try:
                    async with aclosing(client.snapshots()) as snapshots:
                        async for snapshot in snapshots:
                            newest[:] = [snapshot]
                            news.set()
                except Retryable as error:
                    newest[:] = [str(unreachable(place_of(ctx), error))]
                    news.set()
                    await asyncio.sleep(error.retry_after_s)

        async def draw() -> None:
            while True:
                await news.wait()
                news.clear()
                last, wall = newest[0], client.clock.wall()
                if isinstance(last, str):
                    print(f"vmha: {last}", file=sys.stderr, flush=True)
                else:
                    shown = overview(last, cluster=client.keys.cluster, wall=wall)
                    if as_json:
                        print(json.dumps(as_plain(shown)), flush=True)
                    else:
                        _redraw(render(shown, screen(), wall=wall))
                await asyncio.sleep(REDRAW_S)

        async with asyncio.TaskGroup() as group:
            group.create_task(collect(), name="collect snapshots")
            group.create_task(draw(), name="draw")

    do(ctx, follow)


def _redraw(lines: list[str]) -> None:
    if sys.stdout.isatty():
        print("\x1b[H\x1b[J" + "\n".join(lines), flush=True)
    else:
        print("\n".join(lines), end="\n\n", flush=True)
