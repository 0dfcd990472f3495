"""``clustat``: RGManager's view of the cluster, for scripts and screens that read it. Same options, texts, codes."""

import getopt
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vmha import __version__
from vmha.model.errors import VmhaError

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient
    from vmha.operator.rgmanager.service_status import Status

USAGE = """usage: clustat [-i SECONDS | -x] [-l] [-f]   members and services; again and again; as XML; long; fast
       clustat -m MEMBER | -s SERVICE        one member, one service: exit code 0 when it is up
       clustat -Q                            exit code 0 when the cluster is quorate
       clustat -I | -v | -h                  local node id, version, this help"""

NOT_UP = 1
UNKNOWN = 255
_CLEAR = "\x1b[2J\x1b[H"


class UsageError(VmhaError):
    """The line can not be meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A command line. ``every_s`` None: once."""

    member: str | None = None
    service: str | None = None
    every_s: int | None = None
    is_xml: bool = False
    is_long: bool = False
    asks_quorum: bool = False
    asks_id: bool = False
    asks_version: bool = False


def parse(args: Sequence[str]) -> Line:
    """Raises: UsageError."""
    try:
        options, rest = getopt.getopt(list(args), "hIQi:m:s:xlfv")
    except getopt.GetoptError as error:
        raise UsageError(f"{error.msg}\n{USAGE}") from error
    given = dict(options)
    if rest or "-h" in given:
        raise UsageError(USAGE)
    every = given.get("-i")
    if every is not None and not (every.isascii() and every.isdigit() and int(every) > 0):
        raise UsageError(f"-i {every}: a number of seconds above 0 is needed")
    if every is not None and "-x" in given:
        raise UsageError("-i and -x exclude each other")
    return Line(
        member=given.get("-m"),
        service=given.get("-s"),
        every_s=int(every) if every else None,
        is_xml="-x" in given,
        is_long="-l" in given,
        asks_quorum="-Q" in given,
        asks_id="-I" in given,
        asks_version="-v" in given,
    )


def render(status: "Status", line: Line) -> tuple[str, int]:
    """What is printed, and the exit code."""
    from vmha.operator.rgmanager.service_status import as_text, as_xml, group_text, member_text

    if line.asks_quorum:
        return "", 0
    if line.asks_id:
        return (f"0x{status.local_id:08x}", 0) if status.local_id is not None else ("", UNKNOWN)
    if line.member is not None:
        member = status.find_member(line.member)
        if member is None:
            return "", UNKNOWN
        text = as_xml(replace(status, members=(member,))) if line.is_xml else "\n".join(member_text((member,)))
        return text, 0 if member.is_online else NOT_UP
    if line.service is not None:
        group = status.find_group(line.service)
        if group is None:
            return "", UNKNOWN
        only = replace(status, groups=(group,))
        text = as_xml(only) if line.is_xml else "\n".join(group_text(only.groups, long=line.is_long))
        return text, 0 if group.state.is_up else int(group.state)
    return (as_xml(status) if line.is_xml else "\n".join(as_text(status, long=line.is_long))), 0


async def look(client: "OperatorClient", local: str) -> "Status":
    from vmha.operator.rgmanager.service_status import read_status

    wall = client.clock.wall()
    return read_status(await client.read(), cluster=client.keys.cluster, wall=wall, local=local)


def run(args: Sequence[str] | None = None) -> int:
    """The whole command line as a function: prints, and returns the exit code."""
    from vmha.cli.connect import find_place
    from vmha.cli.connect import run as run_on
    from vmha.cli.exits import Unreachable

    try:
        line = parse(sys.argv[1:] if args is None else args)
        if line.asks_version:
            print(f"clustat {__version__} (vmha)")
            return 0
        return run_on(find_place(), lambda client: _show(client, line))
    except UsageError as error:
        print(error)
    except Unreachable as error:
        if "-Q" not in (sys.argv[1:] if args is None else args):
            print(f"clustat: {error}", file=sys.stderr)
    except VmhaError as error:
        print(f"clustat: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us has gone
    return NOT_UP


async def _show(client: "OperatorClient", line: Line) -> int:
    import asyncio

    from vmha.cli.connect import name_of_this_host

    local = name_of_this_host()
    while True:
        status = await look(client, local)
        text, code = render(status, line)
        if line.every_s is None:
            if text:
                print(text, flush=True)
            if code == UNKNOWN:
                asked = line.service or line.member or f"this node ({local})"
                print(f"clustat: there is no {asked} in the cluster", file=sys.stderr)
            for warning in status.warnings if not (line.is_xml or line.asks_quorum or line.asks_id) else ():
                print(f"clustat: {warning}", file=sys.stderr)
            return code
        print((_CLEAR if sys.stdout.isatty() else "") + text, flush=True)
        await asyncio.sleep(line.every_s)


def main() -> None:
    """The console script."""
    sys.exit(run())
