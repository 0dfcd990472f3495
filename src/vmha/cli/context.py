"""What every verb gets from the command line as a whole, and the options that several verbs share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from vmha.cli.connect import Place
    from vmha.operator.client import OperatorClient

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The global options, as given."""

    endpoints: str | None = None
    cluster: str | None = None


def place_of(ctx: typer.Context) -> "Place":
    """The cluster that is meant."""
    from vmha.cli.connect import find_place

    options = ctx.find_object(Options) or Options()
    return find_place(endpoints=options.endpoints, cluster=options.cluster)


def cluster_of(ctx: typer.Context) -> str:
    """The cluster's name, where no endpoint is needed."""
    from vmha.cli.connect import find_cluster

    return find_cluster((ctx.find_object(Options) or Options()).cluster)


def cluster_meant(ctx: typer.Context) -> str:
    """As ``cluster_of``, and a lab's where one is meant."""
    from vmha.cli.connect import find_cluster_meant

    options = ctx.find_object(Options) or Options()
    return find_cluster_meant(endpoints=options.endpoints, cluster=options.cluster)


def do(ctx: typer.Context, work: "Callable[[OperatorClient], Awaitable[T]]") -> T:
    """Do something with the cluster that is meant."""
    from vmha.cli.connect import run

    return run(place_of(ctx), work)


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done.")]
Why = Annotated[
    str, typer.Option("--why", "--reason", help="For those who wonder later; in the journal, with who did it.")
]
Timeout = Annotated[float, typer.Option(help="Wait at most this many seconds; the operation goes on.", min=0.1)]
VmArgument = Annotated[str, typer.Argument(help="Name of the vm.", metavar="NAME", show_default=False)]
NodeArgument = Annotated[str, typer.Argument(help="Name of the node.", metavar="NODE", show_default=False)]
