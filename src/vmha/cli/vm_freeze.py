"""``vmha vm freeze`` and ``unfreeze``: hands off one vm."""

from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import VmArgument, Why, do
from vmha.cli.output import show

if TYPE_CHECKING:
    from vmha.model.holds import Hold

Reason = Annotated[str, typer.Option("--reason", "--why", help="Why; shown wherever something waits for it.")]
For = Annotated[str | None, typer.Option("--for", help="Ends by itself after this time: 30m, 2h, 1h30m, 1d.")]


def freeze(ctx: typer.Context, name: VmArgument, reason: Reason = "", for_time: For = None) -> None:
    """Leave it alone: no start, stop, migration or recovery of it until it is unfrozen. It is watched all the same."""
    from vmha.operator.holds import freeze as freeze_vm

    for_s = seconds(for_time)
    do(ctx, lambda client: freeze_vm(client, name, reason=reason, for_s=for_s))
    show(f"{name} is frozen{for_how_long(for_s)}; lift it with: vmha vm unfreeze {name}")


def unfreeze(ctx: typer.Context, name: VmArgument, why: Why = "") -> None:
    """Take it in hand again: what is due by then (a recovery, a stop, a failback) is done at once."""
    from vmha.operator.holds import unfreeze as unfreeze_vm

    lifted = do(ctx, lambda client: unfreeze_vm(client, name, why=why))
    show(f"{name} is not frozen any more ({of(lifted)})" if lifted else f"{name} is not frozen")


def seconds(for_time: str | None) -> float:
    from vmha.cli.durations import read_duration

    return read_duration(for_time, option="--for") if for_time is not None else 0.0


def for_how_long(for_s: float) -> str:
    from vmha.model.durations import in_words

    return f" for {in_words(for_s)}" if for_s else ""


def of(lifted: "Hold") -> str:
    from vmha.cli.output import when

    return f"it was, since {when(lifted.at)}, by {lifted.in_words}"
