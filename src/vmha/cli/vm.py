"""``vmha vm``: definitions of vms. What is done with them is in ``vm_actions``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmha.cli import vm_actions, vm_freeze, vm_story
from vmha.cli.context import Json, Timeout, VmArgument, Wait, do
from vmha.cli.output import screen, show, show_json, when
from vmha.cli.probes import ProbeOption, probes
from vmha.cli.relations import Autostart, DependsOn, Exclusive, ExclusiveRank, relations
from vmha.cli.status import InStates, OnNodes, chosen_by
from vmha.cli.vm_definition import (
    GivenMemory,
    GivenUuid,
    Persistent,
    Saved,
    Xml,
    XmlAtStart,
    XmlPath,
    definition_fields,
)
from vmha.cli.warn import warn
from vmha.model.transport import Transport
from vmha.model.vm import AfterShutdown, Desired, Handover, MigrationStyle, Recovery, ShutdownBy

if TYPE_CHECKING:
    from vmha.model.vm import VmSpec
    from vmha.operator.client import OperatorClient

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Virtual machines: define, start, stop, move, explain.",
)
for verb in ("start", "stop", "enable", "disable", "restart", "migrate", "relocate", "why", "confirm-gone"):
    app.command(verb)(getattr(vm_actions, verb.replace("-", "_")))

app.command("story")(vm_story.story)
for verb in ("freeze", "unfreeze"):
    app.command(verb)(getattr(vm_freeze, verb))

_Domain = Annotated[str | None, typer.Option("--failover-domain", help="Failover domain that it prefers nodes by.")]
_Priority = Annotated[int | None, typer.Option(help="0 to 1000; the higher is placed first.")]
_Recovery = Annotated[Recovery | None, typer.Option(help="What to do when it fails on a healthy node.")]
_MaxRestarts = Annotated[int | None, typer.Option(help="Restarts in place within the window; 0: no limit.")]
_Window = Annotated[float | None, typer.Option("--restart-window", help="Seconds after which a restart is forgotten.")]
_Style = Annotated[MigrationStyle | None, typer.Option("--migration", help="How it migrates.")]
_Handover = Annotated[Handover | None, typer.Option(help="Who switches over at a migration.")]
_Transport = Annotated[Transport | None, typer.Option(help="How it migrates there; else as its node's migration_uri.")]
_Tunnelled = Annotated[
    bool | None, typer.Option("--tunnelled/--not-tunnelled", help="Its memory through libvirtd's connection.")
]
_OnShutdown = Annotated[AfterShutdown | None, typer.Option(help="When the guest powers itself off.")]
_OnStop = Annotated[AfterShutdown | None, typer.Option(help="When somebody ends it by hand.")]
_StopTimeout = Annotated[float | None, typer.Option("--stop-timeout", help="Seconds a guest gets to shut down.")]
_ShutdownBy = Annotated[ShutdownBy | None, typer.Option(help="How the guest is asked to shut down.")]
_NoKill = Annotated[bool | None, typer.Option("--no-kill/--kill", help="Never end the guest by force.")]


@app.command()
def add(
    ctx: typer.Context,
    name: VmArgument,
    xml: Xml = None,
    xml_at_start: XmlAtStart = None,
    xml_path: XmlPath = None,
    persistent: Persistent = False,
    uuid: GivenUuid = None,
    memory: GivenMemory = None,
    saved_state: Saved = None,
    failover_domain: _Domain = None,
    node_preference: Annotated[
        str | None,
        typer.Option(help="Nodes, most preferred first (h1,h2,h3): makes a failover domain named after the vm."),
    ] = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start it at once.")] = False,
    priority: _Priority = None,
    recovery: _Recovery = None,
    max_restarts: _MaxRestarts = None,
    restart_window_s: _Window = None,
    migration: _Style = None,
    handover: _Handover = None,
    transport: _Transport = None,
    tunnelled: _Tunnelled = None,
    on_guest_shutdown: _OnShutdown = None,
    on_outside_stop: _OnStop = None,
    stop_timeout_s: _StopTimeout = None,
    shutdown_by: _ShutdownBy = None,
    no_kill: _NoKill = None,
    autostart: Autostart = None,
    exclusive: Exclusive = None,
    exclusive_rank: ExclusiveRank = None,
    depends_on: DependsOn = None,
    probe: ProbeOption = None,
    wait: Wait = True,
    timeout: Timeout = 120.0,
    as_json: Json = False,
) -> None:
    """Define a vm. Without --start it is neither started nor stopped: found running, it is adopted where it runs."""
    from vmha.model.errors import Rejected
    from vmha.operator.follow import vm_is
    from vmha.operator.survival import cost_of_start
    from vmha.operator.vm_secrets import password_brought
    from vmha.operator.vms import add_vm

    source = definition_fields(
        xml=xml,
        xml_at_start=xml_at_start,
        xml_path=xml_path,
        persistent=persistent,
        uuid=uuid,
        memory=memory,
        saved_state=saved_state,
        is_new=True,
    )
    text = source.pop("xml", "")
    fields = source | _fields(
        priority=priority,
        recovery=recovery,
        max_restarts=max_restarts,
        restart_window_s=restart_window_s,
        on_guest_shutdown=on_guest_shutdown,
        on_outside_stop=on_outside_stop,
        stop_timeout_s=stop_timeout_s,
        shutdown_by=shutdown_by,
        no_kill=no_kill,
        autostart=autostart,
        migration=_fields(style=migration, handover=handover, transport=transport, tunnelled=tunnelled) or None,
        **relations(exclusive, exclusive_rank, depends_on),
        **probes(probe),
    )
    nodes = [node.strip() for node in node_preference.split(",")] if node_preference is not None else []

    warnings = password_brought(name, text)

    async def work(client: "OperatorClient") -> str:
        from vmha.cli.waiting import wait_shown

        try:
            await add_vm(
                client, name, text, start=start, failover_domain=failover_domain, node_preference=nodes, **fields
            )
        except Rejected as error:
            if xml and ("domain XML" in str(error) or "XML's root" in str(error)):
                error.args = (f"{xml}: {error}",)
            raise
        if start:
            warnings.extend(await cost_of_start(client, name))
        if not as_json:
            warn(warnings)
        if not start:
            return f"{name} is defined; start it with: vmha vm start {name}"
        if not wait:
            return f"{name} is defined and is being started"
        return await wait_shown(client, vm_is(client, name, Desired.RUNNING), timeout_s=timeout)

    said = do(ctx, work)
    if as_json:
        show_json({"vm": name, "result": said, "warnings": warnings})
    else:
        show(said)


@app.command()
def edit(
    ctx: typer.Context,
    name: VmArgument,
    xml: Annotated[Path | None, typer.Option("--xml", help="New domain XML; counts from the next start on.")] = None,
    xml_at_start: XmlAtStart = None,
    xml_path: XmlPath = None,
    persistent: Persistent = False,
    uuid: GivenUuid = None,
    memory: GivenMemory = None,
    saved_state: Saved = None,
    failover_domain: Annotated[
        str | None, typer.Option("--failover-domain", help="Failover domain; an empty string takes it away.")
    ] = None,
    priority: _Priority = None,
    recovery: _Recovery = None,
    max_restarts: _MaxRestarts = None,
    restart_window_s: _Window = None,
    migration: _Style = None,
    handover: _Handover = None,
    transport: _Transport = None,
    tunnelled: _Tunnelled = None,
    on_guest_shutdown: _OnShutdown = None,
    on_outside_stop: _OnStop = None,
    stop_timeout_s: _StopTimeout = None,
    shutdown_by: _ShutdownBy = None,
    no_kill: _NoKill = None,
    autostart: Autostart = None,
    exclusive: Exclusive = None,
    exclusive_rank: ExclusiveRank = None,
    depends_on: DependsOn = None,
    probe: ProbeOption = None,
) -> None:
    """Change fields of a vm; what is not named stays as it is."""
    from vmha.operator.vm_secrets import password_brought
    from vmha.operator.vms import edit as edit_vm
    from vmha.operator.vms import find_spec

    fields = definition_fields(
        xml=xml,
        xml_at_start=xml_at_start,
        xml_path=xml_path,
        persistent=persistent,
        uuid=uuid,
        memory=memory,
        saved_state=saved_state,
        is_new=False,
    )
    fields |= _fields(
        priority=priority,
        recovery=recovery,
        max_restarts=max_restarts,
        restart_window_s=restart_window_s,
        on_guest_shutdown=on_guest_shutdown,
        on_outside_stop=on_outside_stop,
        stop_timeout_s=stop_timeout_s,
        shutdown_by=shutdown_by,
        no_kill=no_kill,
        autostart=autostart,
        **relations(exclusive, exclusive_rank, depends_on),
        **probes(probe),
    )
    if failover_domain is not None:
        fields["failover_domain"] = failover_domain or None
    move = _fields(style=migration, handover=handover, transport=transport, tunnelled=tunnelled)

    async def work(client: "OperatorClient") -> "tuple[VmSpec, VmSpec]":
        if move:
            old = find_spec(await client.read(), name).value.migration
            fields["migration"] = {**old.model_dump(), **move}
        return await edit_vm(client, name, **fields)

    old, new = do(ctx, work)
    warn(password_brought(name, new.xml, before=old.xml))
    was, now = old.model_dump(mode="json"), new.model_dump(mode="json")
    keys = [key for key in now if was[key] != now[key]]
    changed = [
        f"{key}: {_in_short(was[key])} -> {_in_short(now[key])}" if key != "xml" else "xml: changed" for key in keys
    ]
    show("; ".join(changed) if changed else f"{name} is so already")


@app.command()
def remove(ctx: typer.Context, name: VmArgument) -> None:
    """Forget a vm. It is not stopped: a running guest runs on, unmanaged."""
    from vmha.operator.relations import who_needs
    from vmha.operator.rules import who_rules
    from vmha.operator.vms import remove_vm

    async def work(client: "OperatorClient") -> tuple[list[str], list[str]]:
        await remove_vm(client, name)
        snapshot = await client.read()
        return who_needs(name, snapshot), who_rules(name, snapshot)

    left, rules = do(ctx, work)
    show(f"{name} is no longer managed; its guest was not touched")
    if left:
        show(f"{', '.join(left)} still name it under depends_on: a hard need of it is waited for before a start")
    if rules:
        show(f"rule {', '.join(rules)} still names it, and passes it over")


@app.command("list")
def list_vms(ctx: typer.Context, node: OnNodes = None, state: InStates = None, as_json: Json = False) -> None:
    """List the vms."""
    from vmha.cli.chosen import pick
    from vmha.cli.status_view import look, vm_table
    from vmha.operator.overview import plain_vm

    shown = do(ctx, look)
    vms = pick(shown, chosen_by(node, state), None).vms
    if as_json:
        show_json([plain_vm(vm) for vm in vms])
    elif vms:
        show(vm_table(vms, screen()))
    elif shown.vms:
        show("No vm is there in such a state.")
    else:
        show("No vm yet: vmha vm add NAME --xml FILE")


@app.command("show")
def show_vm(
    ctx: typer.Context,
    name: VmArgument,
    as_json: Json = False,
    xml: Annotated[bool, typer.Option("--xml", help="Print its domain XML and nothing else.")] = False,
) -> None:
    """Show one vm: its state and its definition."""
    from vmha.model.errors import Rejected
    from vmha.operator.dump import without_secrets
    from vmha.operator.overview import overview, plain_vm
    from vmha.operator.vms import find_spec

    async def work(client: "OperatorClient") -> "tuple[VmSpec, dict[str, Any]]":
        snapshot = await client.read()
        spec = find_spec(snapshot, name).value
        shown = overview(snapshot, cluster=client.keys.cluster, wall=client.clock.wall())
        return spec, plain_vm(next(vm for vm in shown.vms if vm.name == name))

    spec, state = do(ctx, work)
    if xml and spec.definition is not None:
        raise Rejected(f"{name}: its definition is not kept in etcd: it is read from {spec.definition.in_words()}")
    if xml:
        print(spec.xml, end="" if spec.xml.endswith("\n") else "\n")
    elif as_json:
        show_json({**state, "spec": without_secrets(spec.model_dump(mode="json"))})
    else:
        plain = spec.model_dump(mode="json", exclude={"xml", "name", "desired"})
        state["since"] = when(state["since"]) if state["since"] else None
        show([f"{key + ':':22}{_in_short(value)}" for key, value in {**state, **plain}.items()])


def _in_short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return "; ".join(map(_in_short, value)) or "-"
    return "-" if value in (None, "") else str(value)


def _fields(**given: Any) -> dict[str, Any]:
    """Only what was given: the model knows the defaults."""
    return {key: value for key, value in given.items() if value is not None}
