"""``vmha apply``: make the cluster's definitions what a document says, after showing what that changes."""

import difflib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmha.cli.context import Json, do
from vmha.cli.output import Screen, screen, show, show_json
from vmha.cli.warn import warn

if TYPE_CHECKING:
    from vmha.operator.apply import ApplyPlan, ObjectChange
    from vmha.operator.client import OperatorClient

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_SIGNS = {"created": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red")}


@app.command()
def apply(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The document, YAML; - reads standard input.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Remove what the document's lists do not name; a vm is forgotten, not stopped."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask on a terminal.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a document and end.")] = False,
    as_json: Json = False,
) -> None:
    """Make the cluster's definitions what FILE says. What it does not name is left alone."""
    from vmha.cli.files import read_document
    from vmha.model.errors import Rejected
    from vmha.operator.apply import commit, prepare
    from vmha.operator.document import json_schema
    from vmha.operator.fence_secrets import secrets_brought
    from vmha.operator.survival import cost
    from vmha.operator.vm_secrets import passwords_brought

    if schema:
        show_json(json_schema())
        return
    if file is None:
        raise Rejected("apply: no document is named", accepted="a YAML file, or - for standard input")
    loaded = read_document(file, what="apply")

    warnings: list[str] = []

    async def work(client: "OperatorClient") -> "tuple[ApplyPlan, bool]":
        plan = await prepare(client, loaded, prune=prune)
        imagined = await client.imagine([write.op for write in plan.writes])
        snapshot = await client.read()
        warnings.extend(cost(snapshot, imagined, client.clock))
        warnings.extend(secrets_brought(loaded.document, snapshot))
        warnings.extend(passwords_brought({name: xml for name, (xml, _) in loaded.xmls.items()}, snapshot))
        if not as_json:
            show(render(plan, screen()))
            warn(warnings)
        if dry_run or plan.is_empty or not (yes or as_json or _is_confirmed()):
            return plan, False
        await commit(client, plan)
        return plan, True

    plan, is_applied = do(ctx, work)
    if as_json:
        changes = [asdict(change) for change in plan.changes]
        show_json({"applied": is_applied, "changes": changes, "warnings": warnings})
    elif is_applied:
        show("applied")
    elif not plan.is_empty:
        show("nothing was written")


def render(plan: "ApplyPlan", on: Screen) -> list[str]:
    """The diff, for people."""
    lines = [line for change in plan.changes if change.action != "unchanged" for line in _change(change, on)]
    counts = [f"{plan.count(action)} {action}" for action in (*_SIGNS, "unchanged") if plan.count(action)]
    return [*lines, ", ".join(counts) or "the document names nothing"]


def _change(change: "ObjectChange", on: Screen) -> list[str]:
    sign, colour = _SIGNS[change.action]
    note = " (forgotten, not stopped)" if (change.kind, change.action) == ("vm", "removed") else ""
    lines = [on.paint(f"{sign} {change.kind} {change.name}".rstrip() + note, colour)]
    for field in change.fields:
        if change.action == "created":
            lines += _created(field.field, field.new)
        elif isinstance(field.new, str) and "\n" in f"{field.old}{field.new}":
            lines.append(f"    {field.field}:")
            diff = difflib.unified_diff(str(field.old or "").splitlines(), field.new.splitlines(), n=1, lineterm="")
            lines += [f"      {line}" for line in list(diff)[2:]]
        else:
            lines.append(f"    {field.field}: {_shown(field.old)} -> {_shown(field.new)}")
    return lines


def _created(name: str, value: Any) -> list[str]:
    if value in (None, "", [], {}):
        return []
    if isinstance(value, str) and "\n" in value:
        return [f"    {name}: {len(value.splitlines())} lines"]
    return [f"    {name}: {_shown(value)}"]


def _shown(value: Any) -> str:
    match value:
        case None | "":
            return "(none)"
        case list():
            return "[" + ", ".join(map(_shown, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{key}: {_shown(item)}" for key, item in value.items()) + "}"
        case _:
            return str(value)


def _is_confirmed() -> bool:
    """Asked only where somebody can answer: a script that applies means it."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    from vmha.cli.asking import agreed

    return agreed("Apply? [y/N] ")
