"""``vmha leave``: this host shuts down, and its agent takes leave of the cluster first."""

from pathlib import Path
from typing import Annotated

import typer

from vmha.cli.output import show

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def leave(
    config: Annotated[Path, typer.Option("--config", help="The node's configuration file.")] = Path(
        "/etc/vmha/vmha.toml"
    ),
    if_host_stops: Annotated[
        bool, typer.Option("--if-host-stops", help="Do nothing unless systemd is shutting the host down.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1.0, help="Give up waiting after so many seconds.")] = 180.0,
) -> None:
    """Have this host's vms moved away, or else stopped, and end its session: before it is switched off.

    systemd does this when the host shuts down. The agent joins again when it is restarted.
    """
    import asyncio

    from vmha.cli.connect import author
    from vmha.model.clock import SystemClock
    from vmha.model.errors import Refused
    from vmha.model.records import Hand
    from vmha.node.leaving import ask_to_leave, host_is_stopping
    from vmha.node.settings import read_settings

    settings = read_settings(config)
    if if_host_stops and not host_is_stopping():
        return
    by = Hand(author=author(), why="the host shuts down" if if_host_stops else "")
    left = asyncio.run(ask_to_leave(settings.run_dir, SystemClock(), timeout_s=timeout, by=by))
    if not left.is_empty:
        raise Refused(f"{settings.node} has not left: guests run, or etcd does not answer; its guard counts on")
    show(what_is_next(settings.node))


def what_is_next(node: str) -> list[str]:
    return [
        f"{node} has left the cluster; nothing of it runs here.",
        f"It may be switched off. To join again: systemctl restart vmha-agent. For good: vmha node remove {node}",
    ]
