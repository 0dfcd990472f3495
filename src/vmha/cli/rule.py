"""``vmha rule``: which vms keep apart, which like to be together, and on which nodes vms may be."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmha.cli.context import Json, do
from vmha.cli.output import screen, show, show_json, table

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Placement rules: vms apart, vms together, vms on nodes with labels.",
)

_Name = Annotated[str, typer.Argument(help="Name of the rule.", metavar="NAME", show_default=False)]


@app.command()
def add(
    ctx: typer.Context,
    name: _Name,
    apart: Annotated[list[str] | None, typer.Option("--apart", help="A vm to be on no node with another one.")] = None,
    together: Annotated[list[str] | None, typer.Option("--together", help="A vm that likes to be with others.")] = None,
    vm: Annotated[list[str] | None, typer.Option("--vm", help="A vm that --on and --off are about.")] = None,
    on: Annotated[list[str] | None, typer.Option("--on", help="LABEL=VALUE that its node has.")] = None,
    off: Annotated[list[str] | None, typer.Option("--off", help="LABEL=VALUE that its node has not.")] = None,
    hard: Annotated[bool, typer.Option("--hard/--soft", help="Refuse other nodes, or only prefer these.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace one of that name.")] = False,
) -> None:
    """Define a rule; repeat the options. No vm moves for it: it counts from the next placement on."""
    from pydantic import ValidationError

    from vmha.cli.labels import labels_of
    from vmha.model.document import in_words
    from vmha.model.rules import Rule
    from vmha.operator.rules import put_rule, rule_views

    fields: dict[str, Any] = {"name": name, "apart": apart or (), "together": together or (), "vms": vm or ()}
    fields |= {"on": labels_of(on or (), "--on"), "off": labels_of(off or (), "--off"), "hard": hard}
    try:
        rule = Rule.model_validate(fields)
    except ValidationError as error:
        raise in_words(error, where=f"rule {name}") from error

    async def work(client: "OperatorClient") -> dict[str, Any]:
        await put_rule(client, rule, replace=replace)
        return rule_views(await client.read(), name)[0]

    told = do(ctx, work)
    show([f"rule {name}: {told['meaning']}", *(f"! {text}" for text in told["broken"])])


@app.command()
def remove(ctx: typer.Context, name: _Name) -> None:
    """Forget a rule. Its vms run on where they are."""
    from vmha.operator.rules import remove_rule

    rule = do(ctx, lambda client: remove_rule(client, name))
    show(f"rule {name} is removed; {', '.join(rule.names)} run on where they are")


@app.command("list")
def list_rules(ctx: typer.Context, as_json: Json = False) -> None:
    """List the rules: what each says, and whether it holds now."""
    found = do(ctx, _read)
    if as_json:
        show_json(found)
    elif found:
        rows = [(one["name"], _kind(one), one["meaning"], _holds(one)) for one in found]
        show(table(("RULE", "KIND", "MEANING", "NOW"), rows, screen()))
    else:
        show("No rule yet: vmha rule add NAME --apart VM --apart VM [--hard]")


@app.command("show")
def show_rule(ctx: typer.Context, name: _Name, as_json: Json = False) -> None:
    """Show one rule: where its vms are, and what is broken now."""
    (one,) = do(ctx, lambda client: _read(client, name))
    if as_json:
        show_json(one)
        return
    show(f"rule {name}, {_kind(one)}: {one['meaning']}")
    show([f"{vm['name']}: {vm['node'] or ('nowhere' if vm['defined'] else 'is not defined')}" for vm in one["where"]])
    if one["broken"]:
        show([f"! {text}" for text in one["broken"]])


async def _read(client: "OperatorClient", name: str = "") -> list[dict[str, Any]]:
    from vmha.operator.rules import rule_views

    return rule_views(await client.read(), name)


def _holds(one: dict[str, Any]) -> str:
    return "broken" if one["broken"] else "holds" if one["hard"] else "-"


def _kind(one: dict[str, Any]) -> str:
    return "hard" if one["hard"] else "soft"
