"""A fence agent for the lab's power switch, speaking the FenceAgentAPI as fence_ipmilan and its kin do.

Options come as ``key=value`` lines on standard input, or as ``--key value`` for people. Actions: on, off, reboot,
status, monitor, list, metadata. Exit codes: 0 done (status: on), 2 status is off, 1 anything that failed.
Source of the protocol: https://github.com/ClusterLabs/fence-agents/blob/main/doc/FenceAgentAPI.md

It imports nothing of the lab but addresses, so that it starts in a moment: seconds count when a host has to be fenced.
"""

import socket
import sys
from collections.abc import Iterable, Sequence

DEFAULT_ADDRESS = "10.97.0.254"
DEFAULT_PORT = 24410
_TIMEOUT_S = 20.0
_OK, _FAILED, _OFF = 0, 1, 2
_METHODS = ("power", "storage")
# Old and new names of one option, and the letters of the command line.
_ALIASES = {
    "ip": "ip",
    "ipaddr": "ip",
    "a": "ip",
    "ipport": "ipport",
    "u": "ipport",
    "plug": "plug",
    "port": "plug",
    "nodename": "plug",
    "n": "plug",
    "action": "action",
    "option": "action",
    "o": "action",
    "method": "method",
    "timeout": "timeout",
    "power_timeout": "timeout",
}
_METADATA = """\
<?xml version="1.0" ?>
<resource-agent name="fence_vmha_lab" shortdesc="Fence agent for the power switch of a vmha lab">
<longdesc>Cuts the power of a host of a vmha lab. Answers when nothing of it runs any more.</longdesc>
<vendor-url/>
<parameters>
  <parameter name="action" unique="0" required="1">
    <getopt mixed="-o, --action=[action]"/><content type="string" default="reboot"/>
    <shortdesc lang="en">Fencing action</shortdesc>
  </parameter>
  <parameter name="ip" unique="0" required="0">
    <getopt mixed="-a, --ip=[ip]"/><content type="string" default="10.97.0.254"/>
    <shortdesc lang="en">Address of the power switch</shortdesc>
  </parameter>
  <parameter name="ipport" unique="0" required="0">
    <getopt mixed="-u, --ipport=[port]"/><content type="integer" default="24410"/>
    <shortdesc lang="en">TCP port of the power switch</shortdesc>
  </parameter>
  <parameter name="plug" unique="1" required="1" obsoletes="port">
    <getopt mixed="-n, --plug=[name]"/><content type="string"/>
    <shortdesc lang="en">Name of the host, e.g. h2</shortdesc>
  </parameter>
  <parameter name="method" unique="0" required="0">
    <getopt mixed="--method=[method]"/><content type="string" default="power"/>
    <shortdesc lang="en">What is switched: power, or storage (the host's access to it)</shortdesc>
  </parameter>
</parameters>
<actions>
  <action name="on" automatic="0"/>
  <action name="off"/>
  <action name="reboot"/>
  <action name="status"/>
  <action name="monitor"/>
  <action name="list"/>
  <action name="metadata"/>
</actions>
</resource-agent>
"""


class FenceError(Exception):
    """The action could not be done or not be confirmed."""


def main() -> int:
    try:
        options = parse_arguments(sys.argv[1:]) if len(sys.argv) > 1 else parse_lines(sys.stdin)
        return act(options)
    except (FenceError, OSError, ValueError) as error:
        print(f"fence_vmha_lab: {error}", file=sys.stderr)
        return _FAILED


def parse_lines(lines: Iterable[str]) -> dict[str, str]:
    """Options from standard input: ``key=value`` lines; unknown keys are ignored, as the API asks."""
    options = {}
    for line in lines:
        key, separator, value = line.strip().partition("=")
        if separator and not key.startswith("#") and key in _ALIASES:
            options[_ALIASES[key]] = value
    return options


def parse_arguments(arguments: Sequence[str]) -> dict[str, str]:
    """Options from the command line: ``--key=value``, ``--key value`` or ``-k value``."""
    options = {}
    words = iter(arguments)
    for word in words:
        key, separator, value = word.lstrip("-").replace("-", "_").partition("=")
        if not word.startswith("-") or key not in _ALIASES:
            raise FenceError(f"unknown option {word!r}")
        options[_ALIASES[key]] = value if separator else next(words, "")
    return options


def act(options: dict[str, str]) -> int:
    """Do ``options['action']``; returns the exit code."""
    action = options.get("action", "reboot")
    if action == "metadata":
        print(_METADATA, end="")
        return _OK
    if action in ("monitor", "list"):
        outlets = _ask(options, "list")
        if action == "list":
            print("\n".join(f"{outlet}," for outlet in outlets))
        return _OK
    plug = options.get("plug")
    if not plug:
        raise FenceError("plug is missing: which host?")
    if options.get("method", "power") not in _METHODS:
        raise FenceError(f"unknown method {options['method']!r} (accepted: {', '.join(_METHODS)})")
    match action:
        case "status":
            state = _ask(options, _verb(options, "status"), plug)[1]
            print(f"Status: {state.upper()}")
            return _OK if state == "on" else _OFF
        case "on" | "off":
            _switch(options, action, plug)
        case "reboot":
            _switch(options, "off", plug)
            _switch(options, "on", plug)
        case _:
            raise FenceError(f"unknown action {action!r}")
    print(f"Success: {action} {plug}")
    return _OK


def _switch(options: dict[str, str], action: str, plug: str) -> None:
    state = _ask(options, _verb(options, action), plug)[1]
    if state != action:
        raise FenceError(f"{plug} is {state} after {action}")


def _verb(options: dict[str, str], action: str) -> str:
    return action if options.get("method", "power") == "power" else f"storage-{action}"


def _ask(options: dict[str, str], *words: str) -> list[str]:
    address = (options.get("ip", DEFAULT_ADDRESS), int(options.get("ipport", DEFAULT_PORT)))
    timeout_s = float(options.get("timeout", _TIMEOUT_S))
    with socket.create_connection(address, timeout=timeout_s) as connection:
        connection.sendall(" ".join(words).encode() + b"\n")
        answer = connection.makefile().readline().split()
    if answer[:1] != ["ok"]:
        raise FenceError(" ".join(answer[1:]) or "the power switch hung up")
    return answer[1:]


if __name__ == "__main__":
    sys.exit(main())
