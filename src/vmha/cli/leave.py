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
    goes_off: Annotated[
        bool,
        typer.Option(
            "--goes-off", help="The host goes off whatever comes of it: it takes no vms any more if it fails."
        ),
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Take it back: the node stays, and takes vms again.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1.0, help="Give up waiting after so many seconds.")] = 180.0,
) -> None:
    """Have this host's vms moved away, or else stopped, and end its session: before it is switched off.

    systemd does this when the host shuts down. The agent joins again when it is restarted. A node that could not leave,
    or is not waited for any longer, stays and takes vms again, unless its host goes off.
    """
    import asyncio

    from vmha.cli.connect import author
    from vmha.model.clock import SystemClock
    from vmha.model.errors import Refused, Rejected
    from vmha.model.records import Hand
    from vmha.node.leaving import ask_to_leave, ask_to_stay, host_is_stopping
    from vmha.node.settings import read_settings

    if cancel and (if_host_stops or goes_off):
        raise Rejected("--cancel has the node stay", accepted="it without --if-host-stops and --goes-off")
    settings = read_settings(config)
    if if_host_stops and not host_is_stopping():
        return
    by = Hand(author=author(), why="the host shuts down" if if_host_stops else "")
    if cancel:
        if asyncio.run(ask_to_stay(settings.run_dir, SystemClock(), timeout_s=timeout, by=by)).is_empty:
            raise Refused(f"{settings.node} has left already; to join again: systemctl restart vmha-agent")
        show([f"{settings.node} stays in the cluster, and takes vms again."])
        return
    is_final = if_host_stops or goes_off
    asking = ask_to_leave(settings.run_dir, SystemClock(), timeout_s=timeout, by=by, goes_off=is_final)
    if not asyncio.run(asking).is_empty:
        raise Refused(why_not(settings.node, goes_off=is_final))
    show(what_is_next(settings.node))


def why_not(node: str, *, goes_off: bool) -> str:
    after = "its guard counts on" if goes_off else "it stays and takes vms again, and its guard counts on"
    return f"{node} has not left: guests run, or etcd does not answer; {after}"


def what_is_next(node: str) -> list[str]:
    return [
        f"{node} has left the cluster; nothing of it runs here.",
        f"It may be switched off. To join again: systemctl restart vmha-agent. For good: vmha node remove {node}",
    ]
