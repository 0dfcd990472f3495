"""``vmha node join``: one command on a new host. Checks, then writes its files, then starts its services and looks."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmha.cli.context import Options, Timeout, cluster_of
from vmha.cli.exits import ExitCode
from vmha.cli.output import screen, show, wrapped

if TYPE_CHECKING:
    from vmha.node.joining import Joining

SERVICES = ("vmha-guard.service", "vmha-agent.service")
DASHBOARD = "vmha-web.service"
LOOK_S = 0.5


def join(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Of this node; else the host's name.", metavar="NAME")] = None,
    address: Annotated[str | None, typer.Option(help="Where the other nodes reach this one.")] = None,
    migration_address: Annotated[
        str | None, typer.Option(help="Where guests' memory is sent; else as --address.")
    ] = None,
    certificates: Annotated[
        Path | None, typer.Option(help="What vmha pki issue made for this node, or the authority's folder.")
    ] = None,
    peers_secret: Annotated[Path | None, typer.Option(help="A file with the secret of the cluster's agents.")] = None,
    watchdog: Annotated[str | None, typer.Option(help="The watchdog's device; '': none.")] = None,
    libvirt_uri: Annotated[str | None, typer.Option(help="This host's libvirt.")] = None,
    config: Annotated[Path, typer.Option(help="The settings file that is made.")] = Path("/etc/vmha/vmha.toml"),
    start: Annotated[bool, typer.Option("--start/--no-start", help="Enable and start guard and agent.")] = True,
    web: Annotated[bool, typer.Option("--web", help="And the dashboard of this host (vmha-web).")] = False,
    web_certificates: Annotated[
        Path | None,
        typer.Option(help="The dashboard's: what vmha pki issue made, or an authority's folder; else --certificates'."),
    ] = None,
    web_role: Annotated[
        str, typer.Option(help="The dashboard's in etcd: reader, or operator for its verbs; else as it is, or reader.")
    ] = "",
    web_listen: Annotated[
        str, typer.Option(help="Where browsers reach it, if not on this host alone; by HTTPS, if an authority issues.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, say what would be written, and change nothing.")
    ] = False,
    timeout: Timeout = 60.0,
) -> None:
    """Make this host a node: its certificate, its settings, its services. May be run again.

    First it is checked that the files fit each other, that etcd lets this node in and knows no other machine by its
    name, and that libvirt answers: else nothing is written. --endpoints and --cluster say which cluster.
    """
    from datetime import UTC, datetime

    from vmha.model.clock import SystemClock
    from vmha.node.handing_out import write
    from vmha.node.join_checks import look_at_etcd, look_at_etcd_as_dashboard, look_at_libvirt
    from vmha.node.joining import prepare
    from vmha.node.joining_web import prepare_dashboard

    _check_web(web=web, certificates=web_certificates, role=web_role, listen=web_listen)
    given = _given(ctx, name, address, migration_address, watchdog, libvirt_uri)
    now = datetime.now(UTC)
    joining = prepare(config, given, certificates=certificates, secret=peers_secret, now=now, only_look=dry_run)
    settings = joining.settings
    services = (*SERVICES, DASHBOARD) if web else SERVICES
    dashboard = (
        prepare_dashboard(
            config,
            settings,
            certificates=certificates,
            source=web_certificates,
            role=web_role,
            listen=web_listen,
            now=now,
            only_look=dry_run,
        )
        if web
        else None
    )
    files = (*joining.files, *(dashboard.files if dashboard else ()))

    async def look() -> list[str]:
        notes = await look_at_etcd(joining) if joining.can_ask else ["etcd was not asked: no certificate is issued yet"]
        if dashboard and dashboard.can_ask:
            await look_at_etcd_as_dashboard(dashboard)
        more = dashboard.notes if dashboard else ()
        return [await look_at_libvirt(joining, SystemClock()), *notes, *joining.notes, *more]

    on = screen()
    found = asyncio.run(look())
    show([piece for line in found for piece in wrapped(line, on)])
    for file in files:
        word = "stays" if not file.is_new else "would be written" if dry_run else "written"
        show(f"{file.path}: {word}, mode {file.mode:04o}")
    if dry_run:
        return
    write(files)
    if trouble := asyncio.run(_tell(joining, [file.path.name for file in files if file.is_new], starts=start)):
        show(wrapped(f"the journal does not tell of it: {trouble}", on))
    if not start:
        show(f"{settings.node} has what it needs; next: systemctl enable --now {' '.join(services)}")
        return
    _start(services)
    asyncio.run(_wait(joining, timeout_s=timeout))
    show(f"{settings.node} is a node of cluster {settings.cluster}; next: vmha node why {settings.node}, vmha status")
    _diagnose(ctx, settings.node, config)


def _check_web(*, web: bool, certificates: Path | None, role: str, listen: str) -> None:
    from vmha.model.errors import Rejected

    for option, value in (("--web-certificates", certificates), ("--web-role", role), ("--web-listen", listen)):
        if value and not web:
            raise Rejected(f"{option} {value} without --web", accepted=f"--web {option} {value}, or neither")


def _given(ctx: typer.Context, name: str | None, *others: str | None) -> dict[str, Any]:
    import os

    options = ctx.find_object(Options) or Options()
    endpoints = options.endpoints or os.environ.get("VMHA_ENDPOINTS")
    given: dict[str, Any] = dict(zip(("address", "migration_address", "watchdog", "libvirt_uri"), others, strict=True))
    given["node"] = name
    given["endpoints"] = [part.strip() for part in endpoints.split(",") if part.strip()] if endpoints else None
    given["cluster"] = cluster_of(ctx) if options.cluster or os.environ.get("VMHA_CLUSTER") else None
    return {key: value for key, value in given.items() if value is not None}


async def _tell(joining: "Joining", written: list[str], *, starts: bool) -> str:
    """Returns why not. The host is a node all the same."""
    from vmha.cli.connect import author
    from vmha.model.errors import VmhaError
    from vmha.node.join_checks import open_client
    from vmha.operator.joined import tell_joined

    try:
        async with open_client(joining, author=author()) as client:
            await tell_joined(client, joining.settings.node, written=written, starts=starts)
    except VmhaError as error:
        return str(error)
    return ""


def _start(services: tuple[str, ...]) -> None:
    import subprocess

    from vmha.model.errors import Refused

    if not Path("/run/systemd/system").is_dir():
        raise Refused("the files are written; no systemd runs here that could start its services")
    done = subprocess.run(
        ["systemctl", "enable", "--now", *services], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise Refused(f"the files are written, and the services do not start: {done.stderr.strip()}")


async def _wait(joining: "Joining", *, timeout_s: float) -> None:
    from vmha.model.ids import NodeName
    from vmha.node.join_checks import open_client
    from vmha.operator.errors import TimedOut

    why = "its agent has not been heard in etcd"
    try:
        async with asyncio.timeout(timeout_s), open_client(joining) as client:
            while True:
                view = (await client.read()).nodes.get(NodeName(joining.settings.node))
                status = view.current_status if view else None
                if status and status.eligible:
                    return
                why = status.why_not if status else why
                await asyncio.sleep(LOOK_S)
    except TimeoutError as error:
        raise TimedOut(f"started, and not fit yet: {why}. See: journalctl -u vmha-agent -u vmha-guard") from error


def _diagnose(ctx: typer.Context, node: str, config: Path) -> None:
    """What the doctor says of this node; of others it is not the time to speak."""
    import os

    from vmha.cli.context import do
    from vmha.operator.doctor import diagnose, sentences
    from vmha.policy.telling.doctor import Severity

    os.environ["VMHA_CONFIG"] = str(config)  # asked as this node
    about = tuple(one for one in do(ctx, diagnose) if node in one.about)
    if about:
        show([piece for line in sentences(about) for piece in wrapped(line, screen())])
    if any(one.severity is Severity.ERROR for one in about):
        raise typer.Exit(ExitCode.FAILED)
