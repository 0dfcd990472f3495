"""``vmha lab ...``: a real cluster of real hosts on this machine. Thin: every verb is one call into ``vmha.lab``.

Exit codes: 0 done; 1 it failed; 2 the request is impossible as it stands (no lab, unknown name, wrong state), nothing
was done. ``exec`` ends with the exit code of the command it ran.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from vmha.cli.lab_chaos import chaos
from vmha.cli.lab_errors import plain_errors
from vmha.lab import client, launch, teardown
from vmha.lab.events import describe, follow
from vmha.lab.guests import add_witness, find_witness, list_witnesses, remove_witness, verdict_of
from vmha.lab.layout import LabDir, Link
from vmha.model.clock import SystemClock
from vmha.model.errors import Refused, Rejected

app = typer.Typer(
    help="Real hosts on one Linux machine: build a cluster, pull its plugs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
vm_app = typer.Typer(
    help="Witness guests: tiny vms whose disk proves what happened to them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.add_typer(vm_app, name="vm")
app.command()(chaos)

_START_TIMEOUT_S = 90.0
_JOIN_TIMEOUT_S = 20.0

Dir = Annotated[
    Path | None, typer.Option("--dir", envvar="VMHA_LAB", help="The lab's directory; one lab per directory.")
]
Node = Annotated[str, typer.Argument(metavar="NODE", help="h1, h2, ... or etcd-1, ...")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the cluster.")]


def _tell(words: str) -> None:
    typer.echo(f"  {words}")


def _lab(path: Path | None) -> LabDir:
    return LabDir((path or launch.default_dir()).resolve())


@app.command()
def up(
    *,
    nodes: Annotated[int, typer.Option("--nodes", "-n", help="How many hosts.")] = 3,
    etcd: Annotated[int, typer.Option(help="How many etcd members, 1 or 3; each is a machine of its own.")] = 1,
    directory: Dir = None,
    profile: Annotated[str, typer.Option(help="The cluster's timing: default or tuned.")] = "default",
    agents: Annotated[bool, typer.Option("--agents/--no-agents", help="Run vmha's agent and guard.")] = True,
    fence: Annotated[
        bool, typer.Option("--fence/--no-fence", help="Give every host the lab's power switch as its fence device.")
    ] = False,
) -> None:
    """Build a lab and leave it running."""
    from vmha.cli import lab_cluster

    clock = SystemClock()
    began_s = clock.now()
    with plain_errors():
        lab = _lab(directory)
        chosen = lab_cluster.find_profile(profile)
        spec = launch.make_spec(lab.path, hosts=nodes, etcd=etcd, profile=profile, agents=agents)
        typer.echo(f"lab of {nodes} hosts and {etcd} etcd in {lab.path}")
        try:
            built = launch.up(spec, lambda step: typer.echo(f"  {step.seconds:5.2f} s  {_STEPS[step.step]}"))
        except KeyboardInterrupt:
            typer.echo("interrupted: the lab was taken down again", err=True)
            raise typer.Exit(1) from None
        hosts = [f"h{number}" for number in range(1, nodes + 1)]
        lab_cluster.configure(lab, chosen, fenced=hosts if fence else ())
        if agents:
            joined = lab_cluster.await_members(lab, hosts, timeout_s=_JOIN_TIMEOUT_S)
            words = "agents are online, one leads" if joined else "not all agents are online yet: vmha status"
            typer.echo(f"  {clock.now() - began_s:5.2f} s  {words}")
    if not built.watchdog:
        typer.echo("hosts have no /dev/watchdog: this user can not open /dev/fuse")
    typer.echo(f"lab up in {clock.now() - began_s:.1f} s ({built.tier} rights)")
    typer.echo(_NEXT)


_STEPS = {"machines": "networks are up", "libvirt": "libvirtd answers on every host", "etcd": "etcd answers"}
_NEXT = """\
next:  vmha lab status              vmha lab exec h1 -- virsh list
       vmha lab vm add web          vmha lab kill h1        vmha lab start h1
       vmha lab verdict web         vmha lab down"""


@app.command()
def down(
    *,
    directory: Dir = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the logs.")] = False,
) -> None:
    """Take the lab down and remove everything of it, whatever state it is in."""
    with plain_errors():
        lab = _lab(directory)
        if teardown.down(lab, keep_logs=keep):
            typer.echo(f"lab down; logs are in {lab.path}" if keep else "lab down")
        else:
            typer.echo(f"no lab in {lab.path}: nothing to do")


@app.command()
def status(*, directory: Dir = None, as_json: Json = False) -> None:
    """Show the machines, their power, cables and watchdogs, and who writes to which disk."""
    with plain_errors():
        found = client.ask(_lab(directory), "status")
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    typer.echo(f"lab in {found['dir']} ({found['tier']} rights), etcd at {found['etcd_endpoint']}")
    for node in found["nodes"]:
        typer.echo(f"  {node['name']:<8}{_node_words(node):<34}{node['address']:<14}boots {node['boots']}")
    for name, export in found["storage"].items():
        writer = export["writer"] or "nobody"
        typer.echo(f"  disk {name}: written by {writer}, double writers {export['double_writers']}")
    if found["stalls"]:
        typer.echo(f"  the lab's own clock stood still {found['stalls']} times: timings of then prove nothing")


def _node_words(node: dict[str, Any]) -> str:
    words = ["frozen" if node["frozen"] else node["power"]]
    words += [f"{link} cut" for link in node["cut"]]
    if node["watchdog"] and node["watchdog"]["armed"]:
        words.append(f"watchdog {node['watchdog']['timeout_s']} s")
    return ", ".join(words)


def _verb(op: str, done: str, help_text: str, timeout_s: float = 30.0) -> None:
    """A verb with one machine and nothing else."""

    def run(node: Node, *, directory: Dir = None) -> None:
        clock = SystemClock()
        began_s = clock.now()
        with plain_errors():
            client.ask(_lab(directory), op, node=node, timeout_s=timeout_s)
        typer.echo(f"{node} {done} ({clock.now() - began_s:.2f} s)")

    app.command(op, help=help_text)(run)


_verb("kill", "is off", "Cut a machine's power: cables first, then everything at once.")
_verb("start", "is on", "Switch a machine on; returns when its libvirtd (or etcd) answers.", _START_TIMEOUT_S)
_verb("freeze", "stands still", "Stop all processes of a machine, as if it had been paused.")
_verb("thaw", "goes on", "Let a frozen machine go on.")


def _link_verb(op: str, done: str, help_text: str) -> None:
    def run(
        node: Node,
        *,
        link: Annotated[Link, typer.Option(help="Which cable.")] = Link.LAN,
        directory: Dir = None,
    ) -> None:
        with plain_errors():
            client.ask(_lab(directory), op, node=node, link=link)
        typer.echo(f"{node}: {link} {done}")

    app.command(op, help=help_text)(run)


_link_verb("cut", "is cut", "Pull one cable of a machine; it stays out over a power cycle.")
_link_verb("heal", "is back", "Plug the cable in again.")


@app.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def execute(
    node: Node,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="The command; a shell when there is none.")
    ] = None,
    *,
    directory: Dir = None,
) -> None:
    """Run a command inside a machine; ends with its exit code."""
    from vmha.lab.enter import run_in

    with plain_errors():
        words = command[1:] if command and command[0] == "--" else command
        code = run_in(_lab(directory), node, words or ["bash"])
    raise typer.Exit(code)


@app.command()
def events(
    *,
    directory: Dir = None,
    keep_on: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
    as_json: Json = False,
) -> None:
    """Tell what happened in the lab, oldest first."""
    with plain_errors():
        for event in follow(_lab(directory), keep_on=keep_on):
            typer.echo(json.dumps(event) if as_json else describe(event))


@app.command()
def verdict(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A witness guest.")],
    *,
    directory: Dir = None,
    as_json: Json = False,
    mark: Annotated[bool, typer.Option("--mark", help="Measure the longest gap anew from now on.")] = False,
) -> None:
    """Judge a witness guest by its disk: boots, ticks, the longest gap, and whether it ever ran twice."""
    with plain_errors():
        found = verdict_of(_lab(directory), name, mark=mark)
    typer.echo(json.dumps(found.to_dict(), indent=1) if as_json else found.sentence())


@vm_app.command("add")
def vm_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new vm's name.")],
    *,
    memory: Annotated[int, typer.Option(help="MiB.")] = 16,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start it at once.")] = True,
    failover_domain: Annotated[str | None, typer.Option(help="Where it may run and would rather run.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Return when it runs.")] = True,
    timeout: Timeout = 60.0,
    directory: Dir = None,
) -> None:
    """Make a witness guest: its disk, its definition, and a vm of the cluster."""
    from vmha.cli import lab_cluster

    with plain_errors():
        lab = _lab(directory)
        witness = add_witness(lab, name, memory_mib=memory)
        try:
            lab_cluster.add_vm(lab, witness, start=start, failover_domain=failover_domain)
        except (Rejected, Refused):
            remove_witness(lab, name)  # surely no vm of the cluster: a second try finds nothing in its way
            raise
        typer.echo(f"{name} added; ask `vmha lab verdict {name}` what became of it")
        if start and wait and client.ask(lab, "status")["agents"]:
            lab_cluster.await_running(lab, name, timeout_s=timeout, tell=_tell)


@vm_app.command("list")
def vm_list(*, directory: Dir = None, as_json: Json = False) -> None:
    """List the witness guests by their disks."""
    with plain_errors():
        names = list_witnesses(_lab(directory))
    typer.echo(json.dumps(names) if as_json else "\n".join(names) or "no witness guests: `vmha lab vm add NAME`")


@vm_app.command("remove")
def vm_remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A witness guest.")],
    *,
    timeout: Timeout = 60.0,
    directory: Dir = None,
) -> None:
    """Stop a witness guest, take it out of the cluster and remove its disk."""
    from vmha.cli import lab_cluster

    with plain_errors():
        lab = _lab(directory)
        find_witness(lab, name)
        lab_cluster.remove_vm(lab, name, timeout_s=timeout, tell=_tell)
        remove_witness(lab, name)
    typer.echo(f"{name} removed")
