"""What is done with a service as a whole beside its desired state: restart, relocate, freeze, unfreeze, why."""

from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json, Timeout, Wait, Why, do
from vmha.cli.output import show, show_json
from vmha.cli.vm_freeze import For, Reason, for_how_long, of, seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from vmha.model.records import Request
    from vmha.operator.client import OperatorClient
    from vmha.operator.service_view import ServiceLine
    from vmha.operator.why import Why as Told

ServiceName = Annotated[str, typer.Argument(help="Name of the service.", metavar="NAME", show_default=False)]


def restart(
    ctx: typer.Context,
    name: ServiceName,
    kind: Annotated[
        str,
        typer.Option(
            help="stop-start; reboot: the guests boot again in their QEMUs; reset: as by the button; hard: by force."
        ),
    ] = "stop-start",
    why: Why = "",
    wait: Wait = True,
    timeout: Timeout = 600.0,
) -> None:
    """Restart its vms where they run: they end in reverse and start in their order."""
    from vmha.model.errors import Rejected
    from vmha.model.restart import RestartKind
    from vmha.operator.service_verbs import restart as restart_service

    if kind not in tuple(RestartKind):
        raise Rejected(f"--kind {kind}", accepted=", ".join(RestartKind))
    chosen = RestartKind(kind)
    _ask(ctx, name, lambda client: restart_service(client, name, kind=chosen, why=why), wait=wait, timeout_s=timeout)


def relocate(
    ctx: typer.Context,
    name: ServiceName,
    to: Annotated[
        str | None, typer.Option("--to", help="The node to start it on; the best other one if left out.")
    ] = None,
    why: Why = "",
    wait: Wait = True,
    timeout: Timeout = 600.0,
) -> None:
    """Stop its vms and start them on another node that has room for all. Without a stop: vmha service migrate."""
    from vmha.operator.service_verbs import relocate as relocate_service

    _ask(ctx, name, lambda client: relocate_service(client, name, to=to, why=why), wait=wait, timeout_s=timeout)


def freeze(ctx: typer.Context, name: ServiceName, reason: Reason = "", for_time: For = None) -> None:
    """Leave all its vms alone until they are unfrozen. They are watched all the same."""
    from vmha.operator.service_verbs import freeze as freeze_service

    for_s = seconds(for_time)
    service = do(ctx, lambda client: freeze_service(client, name, reason=reason, for_s=for_s))
    how = f"frozen{for_how_long(for_s)}: {', '.join(service.members)}"
    show(f"service {name} is {how}; lift it with: vmha service unfreeze {name}")


def unfreeze(ctx: typer.Context, name: ServiceName, why: Why = "") -> None:
    """Take its vms in hand again: what is due by then is done at once."""
    from vmha.operator.service_verbs import unfreeze as unfreeze_service

    lifted = do(ctx, lambda client: unfreeze_service(client, name, why=why))
    if not lifted:
        show(f"no vm of service {name} is frozen")
        return
    show([f"{vm} is not frozen any more ({of(hold)})" for vm, hold in lifted.items()])


def why(ctx: typer.Context, name: ServiceName, as_json: Json = False) -> None:
    """Say how it is, who leads it, and why each of its vms is where it is."""
    from vmha.operator.service_view import as_plain, service_in_words, service_line
    from vmha.operator.why import as_plain as why_as_plain
    from vmha.operator.why import sentences
    from vmha.operator.why import why as explain

    async def work(client: "OperatorClient") -> "tuple[ServiceLine, dict[str, Told]]":
        snapshot, wall = await client.read(), client.clock.wall()
        line = service_line(snapshot, name, wall=wall)
        return line, {vm.name: explain(snapshot, vm.name, wall=wall) for vm in line.vms if vm.state is not None}

    line, told = do(ctx, work)
    if as_json:
        show_json({**as_plain(line), "why": {vm: why_as_plain(each) for vm, each in told.items()}})
        return
    show([f"{service_in_words(line)}.", *_why_there(line)])
    for vm in line.vms:
        said = sentences(told[vm.name]) if vm.name in told else [f"{vm.name} is not defined."]
        show([f"{said[0]}", *(f"  {each}" for each in said[1:])])


def _why_there(line: "ServiceLine") -> list[str]:
    if line.leading is None:
        return []
    return [f"{line.leading} leads, on {line.node}: the others are started there, and go where it goes."]


def _ask(
    ctx: typer.Context,
    name: str,
    ask: "Callable[[OperatorClient], Awaitable[Sequence[Request]]]",
    *,
    wait: bool,
    timeout_s: float,
) -> None:
    from vmha.operator.service_verbs import all_ended

    async def work(client: "OperatorClient") -> str:
        from vmha.cli.waiting import wait_shown

        asked = await ask(client)
        if not wait:
            return f"asked for ({len(asked)} requests, from {asked[0].id} on); see: vmha requests"
        return await wait_shown(client, all_ended(client, name, asked), timeout_s=timeout_s)

    show(do(ctx, work))
