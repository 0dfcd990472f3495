"""``vmha domain``: failover domains, which say what nodes a vm prefers."""

from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json, do
from vmha.cli.output import screen, show, show_json, table

if TYPE_CHECKING:
    from vmha.model.vm import FailoverDomain
    from vmha.operator.client import OperatorClient

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Failover domains: add, list, remove."
)

_Name = Annotated[str, typer.Argument(help="Name of the failover domain.", metavar="NAME", show_default=False)]


@app.command()
def add(
    ctx: typer.Context,
    name: _Name,
    member: Annotated[list[str], typer.Option(help="NODE or NODE:PRIORITY (1 is tried first); repeat it.")],
    ordered: Annotated[bool, typer.Option("--ordered/--unordered", help="Priorities count.")] = False,
    restricted: Annotated[bool, typer.Option("--restricted/--unrestricted", help="Never outside the members.")] = False,
    nofailback: Annotated[bool, typer.Option("--nofailback/--failback", help="Stay where it runs.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace one of that name.")] = False,
) -> None:
    """Create a failover domain."""
    from pydantic import ValidationError

    from vmha.model.document import in_words
    from vmha.model.vm import FailoverDomain
    from vmha.operator.domains import add_domain

    members = [_member(text) for text in member]
    try:
        domain = FailoverDomain.model_validate(
            {"name": name, "ordered": ordered, "restricted": restricted, "nofailback": nofailback, "members": members}
        )
    except ValidationError as error:
        raise in_words(error, where=f"failover domain {name}") from error
    show(_in_words(do(ctx, lambda client: add_domain(client, domain, replace=replace))))


@app.command()
def remove(ctx: typer.Context, name: _Name) -> None:
    """Remove a failover domain that no vm names."""
    from vmha.operator.domains import remove_domain

    do(ctx, lambda client: remove_domain(client, name))
    show(f"failover domain {name} is removed")


@app.command("list")
def list_domains(ctx: typer.Context, as_json: Json = False) -> None:
    """List the failover domains."""
    from vmha.operator.domains import users_of

    async def work(client: "OperatorClient") -> "list[tuple[FailoverDomain, list[str]]]":
        snapshot = await client.read()
        return [(domain, users_of(snapshot, name)) for name, domain in sorted(snapshot.domains.items())]

    found = do(ctx, work)
    if as_json:
        show_json([{**domain.model_dump(mode="json"), "vms": vms} for domain, vms in found])
    elif found:
        rows = [(domain.name, _kind(domain), _members(domain), " ".join(vms) or "-") for domain, vms in found]
        show(table(("FAILOVER DOMAIN", "KIND", "MEMBERS", "VMS"), rows, screen()))
    else:
        show("No failover domain yet: vmha domain add NAME --member NODE:PRIORITY ...")


def _member(text: str) -> dict[str, str | int]:
    from vmha.model.errors import Rejected

    node, colon, priority = text.rpartition(":")
    if not colon:
        return {"node": text}
    if not priority.isdigit():
        raise Rejected(f"--member: {text!r}", accepted="NODE or NODE:PRIORITY, like h1:1")
    return {"node": node, "priority": int(priority)}


def _in_words(domain: "FailoverDomain") -> str:
    return f"failover domain {domain.name}: {_kind(domain)}: {_members(domain)}"


def _kind(domain: "FailoverDomain") -> str:
    names = (("ordered", domain.ordered), ("restricted", domain.restricted), ("nofailback", domain.nofailback))
    return ", ".join(name for name, is_set in names if is_set) or "unordered"


def _members(domain: "FailoverDomain") -> str:
    ranked = sorted(domain.members, key=lambda member: (member.priority if domain.ordered else 0, member.node))
    return " ".join(f"{member.node}:{member.priority}" if domain.ordered else member.node for member in ranked)
