"""``clusvcadm``: RGManager's command line for services, so that old scripts go on working. Same options, texts, codes.

Differences are few and told on standard error: a vm may be named without ``vm:``, a node's name must be exact
(RGManager went on with the nearest one), and what vmha does not have is refused.
"""

import getopt
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmha import __version__
from vmha.model.errors import VmhaError

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient
    from vmha.operator.rgmanager.service_admin import Action, Reply

USAGE = """usage: clusvcadm -e GROUP [-m NODE | -F]   enable: start it
       clusvcadm -d GROUP                 disable: stop it, and keep it so
       clusvcadm -s GROUP                 stop it
       clusvcadm -r GROUP [-m NODE]       relocate: stop it here, start it elsewhere
       clusvcadm -M GROUP -m NODE         migrate it to NODE while it runs
       clusvcadm -R GROUP                 restart it in place
       clusvcadm -Z GROUP | -U GROUP      freeze: leave it alone; unfreeze
       clusvcadm -c GROUP                 convalesce: repair what failed in it
       clusvcadm -l | -u | -S             lock all starts, unlock, show the lock
       clusvcadm -q ...                   say nothing on standard output
       clusvcadm -v | -h                  version, this help
GROUP is vm:NAME, NAME, or service:NAME."""

_GROUP_OPTIONS = "edsrRMZUc"
FAILED = 1


class UsageError(VmhaError):
    """The line can not be meant. The message is what RGManager said, where it said anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A command line. ``letter``: the verb's option."""

    letter: str
    group: str = ""
    node: str | None = None
    is_quiet: bool = False


def parse(args: Sequence[str]) -> Line:
    """Raises: UsageError."""
    try:
        options, rest = getopt.getopt(list(args), "e:d:s:r:R:M:Z:U:c:luSm:n:Fqvh")
    except getopt.GetoptError as error:
        raise UsageError(f"{error.msg}\n{USAGE}") from error
    given = [(name[1:], value) for name, value in options]
    flags = {name for name, _ in given}
    if "h" in flags:
        raise UsageError(USAGE)
    verbs = [(name, value) for name, value in given if name in f"{_GROUP_OPTIONS}luSv"]
    if rest or len(verbs) != 1:
        raise UsageError(USAGE)
    ((letter, group),) = verbs
    node = next((value for name, value in given if name in "mn"), None)
    if "F" in flags and node is not None:
        raise UsageError("Cannot use '-F' with '-n' or '-m'")
    if letter == "M" and node is None:
        raise UsageError("Migration requires a target cluster member")
    return Line(letter=letter, group=group, node=node, is_quiet="q" in flags)


async def execute(client: "OperatorClient", line: Line) -> int:
    """Do it, say it, and return the exit code."""
    from vmha.operator.rgmanager.answers import find_service, find_vm
    from vmha.operator.rgmanager.service_admin import Action, carry_out
    from vmha.operator.rgmanager.service_groups import carry_out_on_service

    await client.read()  # a cluster that does not answer is told before anything is said to have begun
    if line.letter in "luS":
        return await _lock(client, line)
    if line.node is not None and (refused := await _node_refusal(client, line)):
        _say(line, refused)
        return FAILED
    vm = find_vm(line.group)
    action = Action(line.letter)
    _say(line, _beginning(action, line), end="")
    if vm is None:
        reply = await carry_out_on_service(client, action, find_service(line.group) or "", node=line.node)
    else:
        reply = await carry_out(client, action, vm, node=line.node)
    _say(line, reply.answer.text)
    _tell_where(line, action, f"vm:{vm}" if vm is not None else line.group, reply)
    if reply.detail:
        _explain(reply.detail)
    return reply.answer.exit_code


async def _lock(client: "OperatorClient", line: Line) -> int:
    """The lock is a pause of starts, kept in the store: it outlives the loss of quorum, which RGManager's did not."""
    from vmha.model.holds import PauseMode
    from vmha.operator.holds import pause, resume
    from vmha.policy.state.hands_off import pause_of

    if line.letter == "l":
        await pause(client, PauseMode.STARTS, reason="locked by clusvcadm")
    elif line.letter == "u":
        await resume(client)
    snapshot = await client.read()
    off = pause_of(snapshot)
    _say(line, "Resource groups locked" if off else "Resource groups unlocked")
    if off and line.letter == "S":
        _explain(off.in_full)
    return 0


async def _node_refusal(client: "OperatorClient", line: Line) -> str:
    """Why the node can not be meant; '' when it can. Near names are told, and never taken."""
    from vmha.operator.errors import unknown_name
    from vmha.operator.overview import overview

    assert line.node is not None
    shown = overview(await client.read(), cluster=client.keys.cluster, wall=client.clock.wall())
    names = [node.name for node in shown.nodes]
    if line.node not in names:
        _explain(str(unknown_name("node", line.node, names)))
        return f"'{line.node}' not in membership list"
    is_alive = any(name == line.node and shown.verdicts[name].is_alive for name in names)
    return "" if is_alive or line.letter != "M" else f"'{line.node}' is offline"


def _beginning(action: "Action", line: Line) -> str:
    from vmha.operator.rgmanager.service_admin import Action

    name = _full(line.group)
    here = f"Member {line.node}" if line.node else "Local machine"
    to = f" to {line.node}" if line.node else ""
    match action:
        case Action.ENABLE:
            return f"{here} trying to enable {name}..."
        case Action.DISABLE:
            return f"Local machine disabling {name}..."
        case Action.STOP:
            return f"Local machine stopping {name}..."
        case Action.RELOCATE:
            return f"Trying to relocate {name}{to}..."
        case Action.RESTART:
            return f"Local machine trying to restart {name}..."
        case Action.MIGRATE:
            return f"Trying to migrate {name}{to}..."
        case Action.FREEZE:
            return f"Local machine freezing {name}..."
        case Action.UNFREEZE:
            return f"Local machine unfreezing {name}..."
        case Action.CONVALESCE:
            return f"Local machine trying to convalesce {name}..."


def _tell_where(line: Line, action: "Action", group: str, reply: "Reply") -> None:
    from vmha.operator.rgmanager.answers import Answer
    from vmha.operator.rgmanager.service_admin import Action

    moves = (Action.ENABLE, Action.RELOCATE, Action.MIGRATE)
    if reply.node is None or action not in moves or reply.answer not in (Answer.SUCCESS, Answer.RUNNING):
        return
    warning = "Warning: " if line.node not in (None, reply.node) else ""
    _say(line, f"{warning}{group} is now running on {reply.node}")


def _full(group: str) -> str:
    return group if ":" in group else f"vm:{group}"


def _say(line: Line, text: str, *, end: str = "\n") -> None:
    if not line.is_quiet:
        print(text, end=end, flush=True)


def _explain(text: str) -> None:
    for each in text.splitlines():
        print(f"clusvcadm: {each}", file=sys.stderr)


def run(args: Sequence[str] | None = None) -> int:
    """The whole command line as a function: prints, and returns the exit code."""
    from vmha.cli.connect import find_place
    from vmha.cli.connect import run as run_on
    from vmha.cli.exits import Unreachable

    try:
        line = parse(sys.argv[1:] if args is None else args)
        if line.letter == "v":
            print(f"clusvcadm {__version__} (vmha)")
            return 0
        place = find_place()
        return run_on(place, lambda client: execute(client, line))
    except UsageError as error:
        print(error)
    except Unreachable as error:
        print("Could not connect to cluster service")
        _explain(str(error))
    except VmhaError as error:
        _explain(str(error))
    except KeyboardInterrupt:
        return 130
    return FAILED


def main() -> None:
    """The console script."""
    sys.exit(run())
