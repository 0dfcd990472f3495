"""``vmha node``: the machines of the cluster."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmha.cli import node_drain, node_join
from vmha.cli.context import Json, NodeArgument, Timeout, Wait, do
from vmha.cli.output import screen, show, show_json, table, when

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Nodes: list, drain, confirm off."
)
app.command()(node_drain.drain)
app.command()(node_drain.undrain)
app.command()(node_join.join)


@app.command("list")
def list_nodes(ctx: typer.Context, as_json: Json = False) -> None:
    """List the nodes."""
    from vmha.cli.status_view import look, node_table

    shown = do(ctx, look)
    if as_json:
        show_json([asdict(node) for node in shown.nodes])
    elif shown.nodes:
        show(node_table(shown.nodes, screen()))
    else:
        show("No node has joined yet: start the agent on each host (vmha agent).")


@app.command("show")
def show_node(ctx: typer.Context, name: NodeArgument, as_json: Json = False) -> None:
    """Show one node: its state, what the operator says about it, and its vms."""
    from vmha.operator.dump import without_secrets
    from vmha.operator.nodes import find_node
    from vmha.operator.overview import overview, plain_vm

    async def work(client: "OperatorClient") -> dict[str, Any]:
        snapshot = await client.read()
        view = find_node(snapshot, name)
        shown = overview(snapshot, cluster=client.keys.cluster, wall=client.clock.wall())
        line = asdict(next(node for node in shown.nodes if node.name == name))
        vms = [plain_vm(vm) for vm in shown.vms if name in (vm.node, vm.target)]
        spec = view.spec.value.model_dump(mode="json") if view.spec else None
        return {**line, "vms": vms, "spec": without_secrets(spec)}

    found = do(ctx, work)
    if as_json:
        show_json(found)
        return
    vms, spec = found.pop("vms"), found.pop("spec")
    found["since"] = when(found["since"])
    found["notes"] = "; ".join(found["notes"])
    found["labels"] = ", ".join(f"{k}={v}" for k, v in spec["labels"].items()) if spec else ""
    found["fence"] = ", ".join(device["agent"] for device in spec["fence"]) if spec else ""
    show([f"{key + ':':20}{value if value not in (None, '') else '-'}" for key, value in found.items()])
    if vms:
        rows = [(vm["name"], str(vm["state"]), vm["reason"]) for vm in vms]
        show(["", *table(("VM", "STATE", "REASON"), rows, screen())])


@app.command("why")
def why_node(ctx: typer.Context, name: NodeArgument, as_json: Json = False) -> None:
    """Say why a node is what it is, how its fencing goes, and which proof its vms wait for."""
    from vmha.operator.node_why import as_plain, sentences
    from vmha.operator.node_why import why_node as why

    async def work(client: "OperatorClient") -> tuple[dict[str, Any], list[str]]:
        wall = client.clock.wall()
        told = why(await client.read(), name, wall=wall)
        return as_plain(told), sentences(told, wall=wall)

    plain, lines = do(ctx, work)
    if as_json:
        show_json(plain)
    else:
        show(lines)


@app.command()
def label(
    ctx: typer.Context,
    name: NodeArgument,
    labels: Annotated[list[str] | None, typer.Argument(metavar="[LABEL=VALUE]...", help="To add or change.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="A label to take away; repeat it.")] = None,
) -> None:
    """Label a node for placement rules, or show its labels. No vm moves for it."""
    from vmha.cli.labels import labels_of
    from vmha.model.rules import labelled
    from vmha.operator.nodes import label as label_node

    put = labels_of(labels or (), "label")
    spec = do(ctx, lambda client: label_node(client, name, put, remove or ()))
    show(f"{name}: {labelled(spec.labels) or 'no label'}")


@app.command()
def remove(ctx: typer.Context, name: NodeArgument) -> None:
    """Forget a node that is gone for good: offline, without vms, named by no failover domain."""
    from vmha.operator.nodes import remove as remove_node

    do(ctx, lambda client: remove_node(client, name))
    show(f"{name} is forgotten; an agent of that name would join anew")


@app.command("confirm-off")
def confirm_off(
    ctx: typer.Context,
    name: NodeArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts that know.")] = False,
    wait: Wait = True,
    timeout: Timeout = 30.0,
) -> None:
    """Say that a lost node is powered off, so that its vms are recovered. Wrong, it makes vms run twice."""
    from vmha.operator.follow import request_ended
    from vmha.operator.nodes import confirm_off as confirm
    from vmha.operator.nodes import find_node, vms_on

    async def look(client: "OperatorClient") -> list[str]:
        snapshot = await client.read()
        find_node(snapshot, name)
        return vms_on(snapshot, name)

    async def work(client: "OperatorClient") -> str:
        from vmha.cli.waiting import wait_shown

        request = await confirm(client, name)
        if not wait:
            return f"asked for (request {request.id}); see: vmha requests"
        return await wait_shown(client, request_ended(client, request.id), timeout_s=timeout)

    vms = do(ctx, look)
    if not yes:
        _ask_for_the_name(name, vms)
    show(do(ctx, work))


def _ask_for_the_name(name: str, vms: list[str]) -> None:
    """A word typed by hand: nobody types a node's name by habit."""
    from vmha.cli.asking import typed_line
    from vmha.model.errors import Rejected

    held = ", ".join(vms) if vms else "no vm"
    risk = (
        f"{name} holds {held}. They are started elsewhere once you confirm that {name} is OFF. If it still runs, "
        "they run twice and their disks are destroyed. Look at its power, not at its network."
    )
    if not sys.stdin.isatty():
        raise Rejected(f"confirm-off {name}: nobody is there to confirm. {risk}", accepted="--yes")
    print(risk, file=sys.stderr)
    answer = typed_line(f"Type the node's name to confirm that {name} is powered off: ")
    if answer != name:
        raise Rejected(f"confirm-off: {answer!r} is not {name!r}: nothing was done")
