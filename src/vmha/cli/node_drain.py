"""``vmha node drain`` and ``undrain``: a node is emptied by migration, and has its vms back afterwards."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmha.cli.context import Json, NodeArgument, Timeout, Wait, Why, do
from vmha.cli.output import show, show_json
from vmha.cli.warn import warn

if TYPE_CHECKING:
    from vmha.model.records import Request
    from vmha.operator.client import OperatorClient


def drain(
    ctx: typer.Context,
    name: NodeArgument,
    why: Why = "",
    force: Annotated[
        bool, typer.Option("--force", help="Also when some vms can not leave: they stay until they can.")
    ] = False,
    wait: Wait = True,
    timeout: Timeout = 1800.0,
    as_json: Json = False,
) -> None:
    """Send its vms elsewhere by migration and let none come, until undrain.

    First it is looked at whether all of them can leave; if not, nothing is done without --force or your yes. What goes
    first is the most important, then the largest. Ctrl-C asks whether the drain is to be called off.
    """
    from vmha.model.errors import Rejected
    from vmha.operator.drains import as_plain, check, in_words
    from vmha.operator.errors import RefusedByCluster
    from vmha.operator.follow import node_is_drained
    from vmha.operator.nodes import drain as drain_node
    from vmha.operator.survival import cost_of_drain

    left = do(ctx, lambda client: check(client, name))
    if left and not force:
        text = in_words(name, left)
        if as_json or not _is_somebody_there():
            raise RefusedByCluster(f"{text}\nnothing was done; drain it all the same with: --force")
        print(text, file=sys.stderr)
        if not _agreed(f"Drain {name} all the same? [y/N] "):
            raise Rejected(f"drain {name}: nothing was done", accepted="yes, or --force")
    warnings: list[str] = []

    async def begin(client: "OperatorClient") -> None:
        warnings.extend(await cost_of_drain(client, name))
        if not as_json:
            warn(warnings)
        await drain_node(client, name, why=why)

    async def follow(client: "OperatorClient") -> str:
        from vmha.cli.waiting import wait_shown

        return await wait_shown(client, node_is_drained(name), timeout_s=timeout)

    do(ctx, begin)
    try:
        said = do(ctx, follow) if wait else f"{name} is being drained"
    except KeyboardInterrupt:
        said = _interrupted(ctx, name)
        if not said:
            raise
    if as_json:
        show_json({"node": name, "result": said, "warnings": warnings, "cannot_leave": as_plain(left)})
    else:
        show(said)


def undrain(
    ctx: typer.Context,
    name: NodeArgument,
    bring_back: Annotated[
        bool, typer.Option("--return", help="Bring the vms back that the drain took away, live.")
    ] = False,
    wait: Wait = True,
    timeout: Timeout = 1800.0,
    as_json: Json = False,
) -> None:
    """Let vms come to it again. Those that left stay where they are, unless failback or --return brings them home."""
    from vmha.operator.drains import bring_back as bring_them_back
    from vmha.operator.nodes import undrain as undrain_node

    said: list[str] = [f"{name} may receive vms again"]
    failed: list[Exception] = []

    async def work(client: "OperatorClient") -> "list[Request]":
        if not bring_back:
            await undrain_node(client, name)
            return []
        asked, refused = await bring_them_back(client, name)
        failed.extend(refused)
        for one in asked:
            said.append(await _ended(client, one, failed, timeout) if wait else f"{one.vm} is to come back")
        return asked

    asked = do(ctx, work)
    if bring_back and not asked and not failed:
        said.append("no vm is away by its drain")
    if as_json:
        plain: dict[str, Any] = {"node": name, "result": said, "asked": [one.vm for one in asked]}
        show_json(plain)
    else:
        show(said)
    if failed:
        raise failed[0]


async def _ended(client: "OperatorClient", asked: "Request", failed: list[Exception], timeout_s: float) -> str:
    """One that can not come back keeps no other from coming."""
    from vmha.cli.waiting import wait_shown
    from vmha.operator.errors import OperationFailed, RefusedByCluster
    from vmha.operator.follow import request_ended

    try:
        return await wait_shown(client, request_ended(client, asked.id, vm=asked.vm or ""), timeout_s=timeout_s)
    except (OperationFailed, RefusedByCluster) as error:
        failed.append(error)
        return f"{asked.vm} stays where it is: {error}"


def _interrupted(ctx: typer.Context, name: str) -> str:
    """What to do with the drain that somebody does not want to wait for any longer; '': it goes on."""
    from vmha.operator.nodes import undrain as undrain_node

    print(f"\n{name} is still being drained.", file=sys.stderr)
    if not _is_somebody_there() or not _agreed("Call it off? What has left stays there. [y/N] "):
        print(f"It goes on; call it off with: vmha node undrain {name}", file=sys.stderr)
        return ""
    do(ctx, lambda client: undrain_node(client, name))
    return f"{name} may receive vms again; bring back what has left with: vmha node undrain {name} --return"


def _is_somebody_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _agreed(question: str) -> bool:
    from vmha.cli.asking import agreed

    try:
        return agreed(question, on=sys.stderr)
    except KeyboardInterrupt:
        return False
