"""``vmha cluster``: setting a cluster up in etcd, and who may do what there."""

from typing import Annotated

import typer

from vmha.cli.context import cluster_of
from vmha.cli.output import show

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Set a cluster up: its rights in etcd."
)


@app.callback()
def _group() -> None:
    """Set a cluster up in etcd."""


@app.command()
def roles(
    ctx: typer.Context,
    node: Annotated[list[str] | None, typer.Argument(help="Names of the nodes, all of them.", metavar="NODE")] = None,
    enable: Annotated[
        bool, typer.Option("--enable", help="Make etcd's root as well, and switch auth on at the end.")
    ] = False,
    remove: Annotated[str | None, typer.Option(help="Take this node's rights away instead.", metavar="NODE")] = None,
) -> None:
    """Print the etcdctl commands that give each node's agent, operators and readers what they need, and no more.

    They may be run again, for a node that is new say. Run them with etcd's root: vmha cluster roles kvm1 kvm2 | sh
    """
    from vmha.model.errors import Rejected
    from vmha.model.ids import NodeName
    from vmha.model.keys import Keys
    from vmha.operator.etcd_roles import commands, removal

    keys = Keys(cluster_of(ctx))
    if bool(remove) == bool(node):
        raise Rejected("cluster roles: which nodes?", accepted="NODE ... of all nodes, or --remove NODE")
    for name in (*(node or ()), *([remove] if remove else ())):
        _check(name)
    show(
        list(
            removal(keys, NodeName(remove))
            if remove
            else commands(keys, [NodeName(name) for name in node or ()], enable=enable)
        )
    )


def _check(name: str) -> None:
    import re

    from vmha.model.document import NAME_PATTERN
    from vmha.model.errors import Rejected

    if not re.match(NAME_PATTERN, name):
        raise Rejected(f"NODE: {name!r}", accepted="letters, digits and _.+:@-, beginning with a letter or digit")
