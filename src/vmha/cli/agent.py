"""``vmha agent``: what runs on every node."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def agent(
    config: Annotated[Path, typer.Option("--config", help="The node's configuration file.")] = Path(
        "/etc/vmha/vmha.toml"
    ),
) -> None:
    """Run this node's agent in the foreground. systemd does this on real hosts."""
    import gc

    from vmha.node.process import run

    gc.set_threshold(700, 10, 10)  # the interpreter's own: this one stays for months, unlike other verbs
    run(config)
