"""``vmha pki``: certificates for etcd, agents, operators and migrations, from a small authority in a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmha.cli.context import Json, cluster_of
from vmha.cli.exits import ExitCode
from vmha.cli.output import Cell, screen, show, show_json, table

if TYPE_CHECKING:
    from vmha.pki.authority import Authority, Issued

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Certificates: an authority in a folder, what it issues, and its change.",
)

_Folder = Annotated[Path, typer.Argument(help="The authority's folder.", metavar="DIR", show_default=False)]
_Days = Annotated[int, typer.Option(help="How long it is good.", min=1, max=7300)]


@app.command()
def init(ctx: typer.Context, folder: _Folder, days: _Days = 3650) -> None:
    """Make an authority. Keep its folder on a machine that is no host of the cluster."""
    from vmha.pki.authority import Authority

    made = Authority.create(folder, cluster=cluster_of(ctx), now=_now(), days=days)
    show(f"authority for cluster {made.cluster} in {folder}; what all have to trust is {made.ca}")


@app.command()
def issue(
    folder: _Folder,
    kind: Annotated[str, typer.Argument(help="etcd, node, operator, restore, reader, web or root.", metavar="KIND")],
    name: Annotated[str, typer.Argument(help="Of the member, node or person.", metavar="NAME")],
    address: Annotated[list[str] | None, typer.Option(help="IP address or host name of a server; repeat it.")] = None,
    days: _Days = 365,
) -> None:
    """Issue a certificate: the folder that it names is what goes to that host or person."""
    from vmha.model.errors import Rejected
    from vmha.pki.authority import Authority, Kind

    if kind not in list(Kind):
        raise Rejected(f"KIND: {kind!r}", accepted=", ".join(Kind))
    made = Authority.open(folder).issue(Kind(kind), name, tuple(address or ()), now=_now(), days=days)
    show(f"{made.known.common_name}, good until {made.known.expires:%Y-%m-%d}: {made.folder}")


@app.command()
def libvirt(
    folder: Annotated[Path, typer.Argument(help="A node's files, as issue made them.", metavar="DIR")],
    qemu_group: Annotated[
        str | None, typer.Option(help="May read QEMU's keys (default: libvirt-qemu or qemu, where there is one).")
    ] = None,
    root: Annotated[Path, typer.Option(help="Below which folder etc/pki is.", metavar="DIR")] = Path("/"),
) -> None:
    """On a host, as root: put a node's files where libvirt and QEMU look for them, for migrations by TLS.

    All of them are written, or none. A libvirtd that runs is to be told; guests are not touched.
    """
    from vmha.pki.libvirt_layout import RELOAD, lay_out, missing_list, settings_of_tls

    known, group = lay_out(folder, root=root, group=qemu_group, now=_now())
    who = f"group {group}" if group else "root alone"
    show(f"{known.common_name}, good until {known.expires:%Y-%m-%d}, is in {root / 'etc/pki'}; QEMU's keys: {who}")
    show(f"a libvirtd that runs reads it when it is told: {RELOAD}")
    if line := missing_list(known, root=root):
        show("libvirtd lets in whoever has a certificate of this authority, as root, also readers and dashboards")
        settings = settings_of_tls(root)
        show(f"for the hosts alone put this into {settings}, and restart {settings.stem}: {line}")


@app.command()
def rotate(
    folder: _Folder,
    begin: Annotated[bool, typer.Option("--begin", help="Make a new authority; all are to trust both.")] = False,
    switch: Annotated[bool, typer.Option("--switch", help="The new one signs; issue everything anew.")] = False,
    finish: Annotated[bool, typer.Option("--finish", help="The old one is trusted no more.")] = False,
    days: _Days = 3650,
    force: Annotated[bool, typer.Option("--force", help="Finish though old certificates are in use.")] = False,
) -> None:
    """Change the authority, in three steps; after each, hand out ca.pem, and what was issued, before the next."""
    from vmha.model.errors import Rejected
    from vmha.pki.authority import Authority, Step

    authority = Authority.open(folder)
    asked = [step for step, is_asked in zip(Step, (begin, switch, finish), strict=True) if is_asked]
    if len(asked) != 1:
        raise Rejected(f"rotate: {len(asked)} steps", accepted=f"one of them; --{authority.next_step} comes next")
    authority.rotate(asked[0], now=_now(), days=days, force=force)
    then = {
        Step.BEGIN: f"both authorities are trusted: hand {authority.ca} out to everybody, then --switch",
        Step.SWITCH: "the new authority signs: issue and hand out every certificate anew, then --finish",
        Step.FINISH: f"only the new authority is trusted: hand {authority.ca} out to everybody",
    }
    show(then[asked[0]])


@app.command("show")
def show_pki(
    folder: _Folder,
    within: Annotated[int, typer.Option(help="Say so when one expires within this many days.", min=0)] = 30,
    as_json: Json = False,
) -> None:
    """List what was issued, and when it expires. Exit code 1: something should be issued anew."""
    from vmha.pki.authority import Authority

    authority = Authority.open(folder)
    now = _now()
    rows = [(one, (one.known.expires - now).days) for one in authority.issued()]
    trusted = [(number, known, (known.expires - now).days) for number, known in authority.trusted()]
    if as_json:
        show_json(
            {
                "cluster": authority.cluster,
                "next_step": authority.next_step,
                "trusted": [
                    {"number": number, "name": known.common_name, "expires": known.expires.isoformat()}
                    for number, known, _ in trusted
                ],
                "issued": [_plain(one) for one, _ in rows],
            }
        )
    else:
        _print(authority, rows, trusted, within)
    if any(left < within or not one.is_current for one, left in rows) or any(left < within for *_, left in trusted):
        raise typer.Exit(ExitCode.FAILED)


def _print(authority: "Authority", rows: "list[tuple[Issued, int]]", trusted: Any, within: int) -> None:
    on = screen()
    lines = [f"cluster {authority.cluster}"]
    lines += [f"trusted: {known.common_name}, for {left} days more" for _, known, left in trusted]
    cells: list[list[str | Cell]] = []
    for one, left in rows:
        remark = "expired" if left < 0 else "expires soon" if left < within else ""
        remark = "by the old authority" if not remark and not one.is_current else remark
        addresses = ", ".join(one.known.addresses)
        expires = Cell(f"{one.known.expires:%Y-%m-%d}", "yellow" if remark else "")
        cells.append([one.kind, one.name, expires, remark, one.known.common_name, addresses])
    lines += table(["KIND", "NAME", "EXPIRES", "", "USER", "ADDRESSES"], cells, on) if cells else ["none issued"]
    show(lines)


def _plain(one: "Issued") -> dict[str, Any]:
    known = one.known
    return {
        "kind": one.kind,
        "name": one.name,
        "user": known.common_name,
        "expires": known.expires.isoformat(),
        "serial": known.serial,
        "addresses": list(known.addresses),
        "is_current": one.is_current,
        "folder": str(one.folder),
    }


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)
