"""What is done with vms: desired state (start, stop, enable, disable), operations, and why a vm is where it is."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmha.cli.context import Json, Timeout, VmArgument, Wait, Why, do
from vmha.cli.output import show, show_json, when
from vmha.cli.warn import warn

if TYPE_CHECKING:
    from vmha.model.records import Verb
    from vmha.model.restart import RestartKind
    from vmha.model.vm import Desired
    from vmha.operator.client import OperatorClient


_On = Annotated[
    str | None, typer.Option("--on", help="The node to start it on, this once; refused with its words if it can not.")
]


def start(
    ctx: typer.Context,
    name: VmArgument,
    on: _On = None,
    why: Why = "",
    wait: Wait = True,
    timeout: Timeout = 120.0,
    as_json: Json = False,
) -> None:
    """Want it running. A disabled vm must be enabled first."""
    from vmha.model.records import Verb
    from vmha.model.vm import Desired
    from vmha.operator.survival import cost_of_start

    warnings = do(ctx, lambda client: cost_of_start(client, name))
    if not as_json:
        warn(warnings)
    if on is not None:
        said = _asked(ctx, Verb.START, name, on, why=why, wait=wait, timeout_s=timeout)
    else:
        said = _settled(ctx, name, Desired.RUNNING, why=why, wait=wait, timeout_s=timeout)
    if as_json:
        show_json({"vm": name, "result": said, "warnings": warnings})
    else:
        show(said)


def stop(ctx: typer.Context, name: VmArgument, why: Why = "", wait: Wait = True, timeout: Timeout = 180.0) -> None:
    """Shut it down and keep it down until it is started."""
    from vmha.model.vm import Desired

    _settle(ctx, name, Desired.STOPPED, why=why, wait=wait, timeout_s=timeout)


def enable(
    ctx: typer.Context, name: VmArgument, on: _On = None, why: Why = "", wait: Wait = True, timeout: Timeout = 120.0
) -> None:
    """Want it running, whether it was disabled or not."""
    from vmha.model.records import Verb
    from vmha.model.vm import Desired

    if on is not None:
        _ask(ctx, Verb.ENABLE, name, on, why=why, wait=wait, timeout_s=timeout)
        return
    _settle(ctx, name, Desired.RUNNING, why=why, wait=wait, timeout_s=timeout, is_enable=True)


def disable(ctx: typer.Context, name: VmArgument, why: Why = "", wait: Wait = True, timeout: Timeout = 180.0) -> None:
    """Shut it down, and refuse to start it until it is enabled."""
    from vmha.model.vm import Desired

    _settle(ctx, name, Desired.DISABLED, why=why, wait=wait, timeout_s=timeout)


def restart(
    ctx: typer.Context,
    name: VmArgument,
    kind: Annotated[
        str,
        typer.Option(
            help="stop-start; reboot: the guest boots again in its QEMU; reset: as by the button; hard: ended by force."
        ),
    ] = "stop-start",
    why: Why = "",
    wait: Wait = True,
    timeout: Timeout = 300.0,
) -> None:
    """Restart it where it runs: stop and start it, or have its guest boot again."""
    from vmha.model.errors import Rejected
    from vmha.model.records import Verb
    from vmha.model.restart import RestartKind

    if kind not in tuple(RestartKind):
        raise Rejected(f"--kind {kind}", accepted=", ".join(RestartKind))
    _ask(ctx, Verb.RESTART, name, None, why=why, wait=wait, timeout_s=timeout, kind=RestartKind(kind))


def migrate(
    ctx: typer.Context,
    name: VmArgument,
    to: Annotated[
        str | None, typer.Option("--to", help="The node to migrate to; the best other one if left out.")
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(
            help="live; pause: it stands still while its memory is copied once; post-copy: live, and if that does not "
            "end, it goes on at the target and fetches the rest (with handover: libvirt only); else as it is defined."
        ),
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Call the migration under way off: it stays on its node.")
    ] = False,
    why: Why = "",
    wait: Wait = True,
    timeout: Timeout = 660.0,
) -> None:
    """Move it to another node without stopping the guest, or call that off."""
    from vmha.model.errors import Rejected
    from vmha.model.records import Verb

    if cancel and (to is not None or style is not None):
        raise Rejected("--cancel goes without --to and --style", accepted="vmha vm migrate --cancel NAME")
    if cancel:
        _ask(ctx, Verb.CANCEL, name, None, why=why, wait=wait, timeout_s=timeout)
        return
    _ask(ctx, Verb.MIGRATE, name, to, why=why, wait=wait, timeout_s=timeout, style=style)


def relocate(
    ctx: typer.Context,
    name: VmArgument,
    to: Annotated[
        str | None, typer.Option("--to", help="The node to start it on; the best other one if left out.")
    ] = None,
    why: Why = "",
    wait: Wait = True,
    timeout: Timeout = 300.0,
) -> None:
    """Stop it and start it on another node."""
    from vmha.model.records import Verb

    _ask(ctx, Verb.RELOCATE, name, to, why=why, wait=wait, timeout_s=timeout)


def confirm_gone(
    ctx: typer.Context, name: VmArgument, why: Why = "", wait: Wait = True, timeout: Timeout = 30.0
) -> None:
    """Give your word that a vm runs nowhere: one that has departed, or that a node which is offline might run."""
    from vmha.model.records import Verb

    _ask(ctx, Verb.CONFIRM_GONE, name, None, why=why, wait=wait, timeout_s=timeout)


def why(ctx: typer.Context, name: VmArgument, as_json: Json = False) -> None:
    """Say why it is where it is, what each node said, and what it waits for."""
    from vmha.operator.why import Why, as_plain, sentences
    from vmha.operator.why import why as explain

    async def work(client: "OperatorClient") -> Why:
        return explain(await client.read(), name, wall=client.clock.wall())

    told = do(ctx, work)
    if as_json:
        show_json(as_plain(told))
    else:
        first, *rest = sentences(told)
        since = f" Since {when(told.summary.since)}." if told.summary.since else ""
        epoch = f" Epoch {told.summary.epoch}." if told.summary.epoch else ""
        show([f"{first}{since}{epoch}", *rest])


def _settle(ctx: typer.Context, name: str, desired: "Desired", **how: Any) -> None:
    show(_settled(ctx, name, desired, **how))


def _settled(
    ctx: typer.Context,
    name: str,
    desired: "Desired",
    *,
    why: str,
    wait: bool,
    timeout_s: float,
    is_enable: bool = False,
) -> str:
    from vmha.operator.follow import vm_is
    from vmha.operator.vms import enable as enable_vm
    from vmha.operator.vms import set_desired

    async def work(client: "OperatorClient") -> str:
        from vmha.cli.waiting import wait_shown

        if is_enable:
            spec = await enable_vm(client, name, why=why)
        else:
            spec = await set_desired(client, name, desired, why=why)
        if not wait:
            return f"{name} is to be {spec.desired}"
        return await wait_shown(client, vm_is(client, name, spec.desired), timeout_s=timeout_s)

    return do(ctx, work)


def _ask(ctx: typer.Context, verb: "Verb", vm: str, node: str | None, **how: Any) -> None:
    show(_asked(ctx, verb, vm, node, **how))


def _asked(
    ctx: typer.Context,
    verb: "Verb",
    vm: str,
    node: str | None,
    *,
    why: str,
    wait: bool,
    timeout_s: float,
    style: str | None = None,
    kind: "RestartKind | None" = None,
) -> str:
    from vmha.model.errors import Rejected
    from vmha.model.vm import MigrationStyle
    from vmha.operator.follow import request_ended
    from vmha.operator.requests import submit

    if style is not None and style not in tuple(MigrationStyle):
        raise Rejected(f"--style {style}", accepted=", ".join(MigrationStyle))
    chosen = MigrationStyle(style) if style is not None else None

    async def work(client: "OperatorClient") -> str:
        from vmha.cli.waiting import wait_shown

        request = await submit(client, verb, vm=vm, node=node, style=chosen, kind=kind, why=why)
        if not wait:
            return f"asked for (request {request.id}); see: vmha requests"
        return await wait_shown(client, request_ended(client, request.id, vm=vm), timeout_s=timeout_s)

    return do(ctx, work)
