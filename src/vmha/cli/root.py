"""The verbs of ``vmha``: imports only the module of the verb that is used."""

from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vmha import __version__
from vmha.cli.context import Options

_MODULES = {
    "status": "vmha.cli.status",
    "vm": "vmha.cli.vm",
    "node": "vmha.cli.node",
    "domain": "vmha.cli.domain",
    "service": "vmha.cli.service",
    "failback": "vmha.cli.failback",
    "rebalance": "vmha.cli.rebalance",
    "rule": "vmha.cli.rule",
    "apply": "vmha.cli.apply",
    "plan": "vmha.cli.plan",
    "export": "vmha.cli.export",
    "doctor": "vmha.cli.doctor",
    "restore": "vmha.cli.restore",
    "verify": "vmha.cli.verify",
    "dump": "vmha.cli.dump",
    "import": "vmha.cli.import_conf",
    "events": "vmha.cli.events",
    "requests": "vmha.cli.requests",
    "hooks": "vmha.cli.hooks",
    "pause": "vmha.cli.pause",
    "resume": "vmha.cli.resume",
    "config": "vmha.cli.config",
    "cluster": "vmha.cli.cluster",
    "pki": "vmha.cli.pki",
    "demo": "vmha.cli.demo",
    "lab": "vmha.cli.lab",
    "sim": "vmha.cli.sim",
    "simulate": "vmha.cli.simulate",
    "agent": "vmha.cli.agent",
    "web": "vmha.cli.web",
    "leave": "vmha.cli.leave",
    "version": "vmha.cli.version",
    "completion": "vmha.cli.completion",
}
"""Each module has an ``app``: importing them all would triple the time that ``vmha status`` takes."""

_GLOBAL = ("--endpoints", "--cluster")


class LazyGroup(TyperGroup):
    """Imports a verb's module when the verb is used; takes ``--endpoints`` and ``--cluster`` anywhere on the line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.list_commands(None):
            self.commands.setdefault(name, None)  # type: ignore[arg-type]  # only its name is used, for suggestions

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for name, module in _MODULES.items() if find_spec(module)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _MODULES or not find_spec(_MODULES[cmd_name]):
            return None
        command = typer.main.get_command(import_module(_MODULES[cmd_name]).app)
        command.name = cmd_name
        return command

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _global_options_first(args))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as wrong:
            from vmha.cli.usage import in_our_words

            wrong.message = in_our_words(wrong)
            raise


def _global_options_first(args: list[str]) -> list[str]:
    first: list[str] = []
    rest: list[str] = []
    left = iter(args)
    for arg in left:
        if arg == "--":  # what follows belongs to another program
            rest += [arg, *left]
        elif arg in _GLOBAL:
            first += [arg, *([value] if (value := next(left, None)) is not None else [])]
        elif arg.startswith(tuple(f"{name}=" for name in _GLOBAL)):
            first.append(arg)
        else:
            rest.append(arg)
    return first + rest


def _show_version(asked: bool) -> None:
    if asked:
        print(f"vmha {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup,
    name="vmha",
    help="High availability for libvirt/QEMU virtual machines over etcd.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def root(
    ctx: typer.Context,
    endpoints: Annotated[
        str | None,
        typer.Option(help="etcd members, host:port,... (default: $VMHA_ENDPOINTS, /etc/vmha/vmha.toml, lab)"),
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Name of the cluster (default: $VMHA_CLUSTER, the same file)")
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and end.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    ctx.obj = Options(endpoints=endpoints, cluster=cluster)
