"""``vmha restore``: a cluster's keys put back from what ``vmha export --all`` has written."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json, do
from vmha.cli.output import show, show_json
from vmha.cli.warn import warn

if TYPE_CHECKING:
    from vmha.operator.backup import Restoring
    from vmha.operator.client import OperatorClient

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_SHOWN = ("created", "changed", "kept", "beside", "warnings")


@app.command()
def restore(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What 'vmha export --all' has written; - reads standard input.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also while agents hold sessions.")] = False,
    as_json: Json = False,
) -> None:
    """Put a backup's definitions and epochs back, into an empty store or the same cluster. Nothing is taken away.

    Nothing starts until every node has said what runs on it. Placements that exist stay as they are.
    """
    from vmha.cli.files import read_text
    from vmha.operator.backup import prepare, read_backup
    from vmha.operator.backup import restore as put_back

    text = read_text(file, what="restore", at_most=1 << 30)

    async def work(client: "OperatorClient") -> "Restoring":
        backup = read_backup(text, file=str(file), cluster=client.keys.cluster)
        plan = await prepare(client, backup, file=str(file), force=force)
        if not dry_run:
            await put_back(client, plan)
        return plan

    plan = do(ctx, work)
    if as_json:
        whole = {name: list(getattr(plan, name)) for name in _SHOWN}
        show_json({"dry_run": dry_run, **whole})
        return
    would = "would be " if dry_run else ""
    lines = [f"{name} {would}created" for name in plan.created]
    lines += [f"{name} {would}changed" for name in plan.changed]
    lines += [f"{name} stays: it is younger than the backup" for name in plan.kept]
    lines += [f"vm {name} stays: the backup does not know it" for name in plan.beside]
    if not plan.puts:
        lines.append("Nothing to restore: everything is there as the backup has it.")
    elif not dry_run:
        lines.append(
            f"{len(plan.puts)} keys restored. Nothing is started until every node with a session has said what runs "
            f"on it, and {plan.settle_s:g} s have passed: vmha status"
        )
    show(lines)
    warn(plan.warnings)
