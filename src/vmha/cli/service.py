"""``vmha service``: vms that stay together."""

from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli import service_actions
from vmha.cli.context import Json, Timeout, Wait, Why, do
from vmha.cli.output import screen, show, show_json, table
from vmha.cli.service_actions import ServiceName as _Name

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient
    from vmha.operator.service_view import ServiceLine

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Services: vms on one node, started in order, moved together.",
)

_On = Annotated[
    str | None, typer.Option("--on", help="The node to start it on, this once; refused with its words if it can not.")
]

for _verb in (
    service_actions.restart,
    service_actions.relocate,
    service_actions.freeze,
    service_actions.unfreeze,
    service_actions.why,
):
    app.command()(_verb)


@app.command()
def add(
    ctx: typer.Context,
    name: _Name,
    vm: Annotated[list[str], typer.Option("--vm", help="A vm of it; repeat it, in the order of their start.")],
    failover_domain: Annotated[str | None, typer.Option("--failover-domain", help="Counts for all its vms.")] = None,
    recovery: Annotated[
        str, typer.Option(help="restart: a vm that crashes is started again where the others are; relocate: elsewhere.")
    ] = "restart",
    replace: Annotated[bool, typer.Option("--replace", help="Replace one of that name.")] = False,
    why: Why = "",
) -> None:
    """Put vms together. Nothing is started or stopped; vms that run on different nodes are brought together, live."""
    from pydantic import ValidationError

    from vmha.model.document import in_words
    from vmha.model.service import Service
    from vmha.operator.services import put_service

    try:
        service = Service.model_validate(
            {"name": name, "members": tuple(vm), "failover_domain": failover_domain, "recovery": recovery}
        )
    except ValidationError as error:
        raise in_words(error, where=f"service {name}") from error
    do(ctx, lambda client: put_service(client, service, replace=replace, why=why))
    show(f"service {name}: {', '.join(service.members)}")


@app.command()
def remove(ctx: typer.Context, name: _Name, why: Why = "") -> None:
    """Forget a service. Its vms run on where they are."""
    from vmha.operator.services import remove_service

    service = do(ctx, lambda client: remove_service(client, name, why=why))
    show(f"service {name} is removed; {', '.join(service.members)} run on, each by itself")


@app.command("list")
def list_services(ctx: typer.Context, as_json: Json = False) -> None:
    """List the services: how each is, and where its vms are, in their order."""
    from vmha.operator.service_view import ServiceLine, as_plain, service_lines

    async def work(client: "OperatorClient") -> list[ServiceLine]:
        return service_lines(await client.read(), wall=client.clock.wall())

    found = do(ctx, work)
    if as_json:
        show_json([as_plain(line) for line in found])
    elif found:
        rows = [(line.name, line.state, line.node or "-", _members(line)) for line in found]
        show(table(("SERVICE", "STATE", "NODE", "VMS, IN ORDER"), rows, screen()))
    else:
        show("No service yet: vmha service add NAME --vm VM --vm VM ...")


@app.command("show")
def show_service(ctx: typer.Context, name: _Name, as_json: Json = False) -> None:
    """Show one service: what is said of it, and what each of its vms does."""
    from vmha.operator.service_view import ServiceLine, as_plain, service_in_words, service_line

    async def work(client: "OperatorClient") -> ServiceLine:
        return service_line(await client.read(), name, wall=client.clock.wall())

    line = do(ctx, work)
    if as_json:
        show_json(as_plain(line))
        return
    leads = f"; {line.leading} leads, the others are where it is" if line.leading else ""
    show(f"{service_in_words(line)}{leads}")
    show(f"failover domain: {line.failover_domain or 'none'}; recovery: {line.recovery}")
    show([f"{at}. {vm.text if vm.state else f'{vm.name} is not defined'}" for at, vm in enumerate(line.vms, start=1)])


@app.command()
def start(
    ctx: typer.Context, name: _Name, on: _On = None, why: Why = "", wait: Wait = True, timeout: Timeout = 300.0
) -> None:
    """Want all its vms running: they start in order, on one node. A disabled one must be enabled first."""
    _settle(ctx, name, "running", on=on, why=why, wait=wait, timeout_s=timeout)


@app.command()
def stop(ctx: typer.Context, name: _Name, why: Why = "", wait: Wait = True, timeout: Timeout = 300.0) -> None:
    """Want all its vms stopped: the last one ends first."""
    _settle(ctx, name, "stopped", why=why, wait=wait, timeout_s=timeout)


@app.command()
def enable(
    ctx: typer.Context, name: _Name, on: _On = None, why: Why = "", wait: Wait = True, timeout: Timeout = 300.0
) -> None:
    """Want all its vms running, whether they were disabled or not."""
    _settle(ctx, name, "running", on=on, why=why, wait=wait, timeout_s=timeout, is_enable=True)


@app.command()
def disable(ctx: typer.Context, name: _Name, why: Why = "", wait: Wait = True, timeout: Timeout = 300.0) -> None:
    """Stop all its vms, and refuse to start them until they are enabled."""
    _settle(ctx, name, "disabled", why=why, wait=wait, timeout_s=timeout)


@app.command()
def migrate(
    ctx: typer.Context,
    name: _Name,
    to: Annotated[str | None, typer.Option("--to", help="The node; the best other one if left out.")] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Call the move off, as long as its first vm is on its way: it stays.")
    ] = False,
    why: Why = "",
    wait: Wait = True,
    timeout: Timeout = 900.0,
) -> None:
    """Move all its vms to a node that has room for all, live, one after another; or call that off."""
    from vmha.model.errors import Rejected
    from vmha.operator.service_view import move, service_has_moved

    if cancel and to is not None:
        raise Rejected("--cancel goes without --to", accepted="vmha service migrate --cancel NAME")
    if cancel:
        _cancel(ctx, name, why=why, wait=wait, timeout_s=timeout)
        return

    async def work(client: "OperatorClient") -> str:
        from vmha.cli.waiting import wait_shown

        request, vm = await move(client, name, to, why=why)
        if not wait:
            return f"asked for (request {request}): {vm} goes first, the others follow it"
        return await wait_shown(client, service_has_moved(client, name, request, vm), timeout_s=timeout)

    show(do(ctx, work))


def _settle(
    ctx: typer.Context,
    name: str,
    desired: str,
    *,
    why: str,
    wait: bool,
    timeout_s: float,
    is_enable: bool = False,
    on: str | None = None,
) -> None:
    from vmha.model.vm import Desired
    from vmha.operator.service_verbs import start_on
    from vmha.operator.service_view import service_is
    from vmha.operator.services import set_desired

    async def work(client: "OperatorClient") -> str:
        from vmha.cli.waiting import wait_shown

        if on is not None:
            service = await start_on(client, name, on, is_enable=is_enable, timeout_s=timeout_s, why=why)
        else:
            service = await set_desired(client, name, Desired(desired), is_enable=is_enable, why=why)
        if not wait:
            return f"service {name} is to be {desired}: {', '.join(service.members)}"
        return await wait_shown(client, service_is(client, name, Desired(desired)), timeout_s=timeout_s)

    show(do(ctx, work))


def _cancel(ctx: typer.Context, name: str, *, why: str, wait: bool, timeout_s: float) -> None:
    from vmha.operator.follow import request_ended
    from vmha.operator.service_verbs import cancel_move

    async def work(client: "OperatorClient") -> str:
        from vmha.cli.waiting import wait_shown

        request = await cancel_move(client, name, why=why)
        if not wait:
            return f"asked for (request {request.id}); see: vmha requests"
        return await wait_shown(client, request_ended(client, request.id, vm=request.vm), timeout_s=timeout_s)

    show(do(ctx, work))


def _members(line: "ServiceLine") -> str:
    return ", ".join(
        f"{vm.name} ({vm.state or 'not defined'}{f' on {vm.node}' if vm.node not in (None, line.node) else ''})"
        for vm in line.vms
    )
