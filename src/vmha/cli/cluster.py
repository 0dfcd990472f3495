"""``vmha cluster``: setting a cluster up in etcd, and who may do what there."""

from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json, cluster_meant, do
from vmha.cli.exits import ExitCode
from vmha.cli.output import screen, show, show_json, wrapped

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient
    from vmha.operator.founding import Founded

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Set a cluster up in etcd: its settings, who may do what.",
)


@app.callback()
def _group() -> None:
    """Set a cluster up in etcd."""


@app.command()
def init(
    ctx: typer.Context,
    profile: Annotated[str, typer.Option(help="Timing: default or tuned.", metavar="PROFILE")] = "default",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check etcd.")] = False,
    as_json: Json = False,
) -> None:
    """Check etcd, and write the settings of a new cluster; refused where there are some already.

    What is wrong with etcd keeps it from being done; what could be better is told. All other settings have their
    defaults, which a document changes (vmha apply). With --dry-run, exit code 1: something was found.
    """
    from vmha.model.errors import Rejected
    from vmha.model.settings import ClusterConfig, Profile
    from vmha.operator.doctor import as_plain, sentences
    from vmha.operator.founding import found

    if profile not in list(Profile):
        raise Rejected(f"--profile: {profile!r}", accepted=", ".join(Profile))
    config = ClusterConfig(profile=Profile(profile))

    async def work(client: "OperatorClient") -> "Founded":
        return await found(client, config, only_look=dry_run)

    founded = do(ctx, work)
    if as_json:
        told = {"is_written": founded.is_written, "findings": as_plain(founded.findings)}
        show_json({**told, "quota_unknown": list(founded.quota_unknown)})
    else:
        on = screen()
        if founded.findings or dry_run:
            show([piece for line in sentences(founded.findings) for piece in wrapped(line, on)])
        if founded.quota_unknown:
            where = ", ".join(founded.quota_unknown)
            said = f"not looked at: the space quota of etcd at {where}, whose metrics can not be read from here"
            show(wrapped(said, on))
        if founded.is_written:
            show(f"cluster {cluster_meant(ctx)} is set up with profile {profile}; next, on each host: vmha node join")
    if dry_run and founded.findings:
        raise typer.Exit(ExitCode.FAILED)


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

    keys = Keys(cluster_meant(ctx))
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
