"""``vmha resume``: the end of a pause."""

import typer

from vmha.cli.context import do
from vmha.cli.output import show
from vmha.cli.vm_freeze import of

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def resume(ctx: typer.Context) -> None:
    """Lift the pause of the cluster: what is due by then is done at once. Frozen vms stay frozen."""
    from vmha.operator.holds import resume as resume_cluster

    lifted = do(ctx, resume_cluster)
    show(f"the cluster is not paused any more ({of(lifted)})" if lifted else "the cluster is not paused")
