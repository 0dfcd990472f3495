"""What the answers of fence agents come to that were asked for their status: whether a power-off would be confirmed.

A device that says "off" of a node that lives is worse than none: it would confirm a power-off that never was.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from vmha.model.fence_answer import FenceAnswer, FenceSays
from vmha.model.ids import NodeName
from vmha.model.vm import FenceRole, NodeSpec
from vmha.policy.members.membership import Verdict
from vmha.policy.state.snapshot import NodeView

SLOW_S: Final = 5.0
"""A power-off asks three times: so much later do the vms of a lost node come back, or not by this device at all."""

_CODES: Final = (0, 1, 2)
"""Of the standard API: on (done), failed, off."""
_NOT_LET_IN: Final = re.compile(
    r"log ?-?in|password|authenti|authori[sz]|credential|privilege|permission denied|access denied|forbidden|\b40[13]\b"
    r"|invalid user|hmac|unable to establish ipmi|correct plug status",
    re.IGNORECASE,
)
"""Words by which fence agents, ipmitool, ssh and web addresses say so; the API has no exit code for it.

The last ones are all that fence_ipmilan says of a wrong password; of a board that it does not reach it says that the
time is over.
"""
_NOBODY_THERE: Final = re.compile(r"timed? ?out|refused|no route|unreachable|resolve|not known", re.IGNORECASE)


def fence_findings(
    answers: Mapping[NodeName, tuple[FenceAnswer, ...]], verdicts: Mapping[NodeName, Verdict]
) -> Iterator[tuple[str, str, NodeName]]:
    """Kind, text, and the node that it is about."""
    for node, said in sorted(answers.items()):
        is_alive = node in verdicts and verdicts[node].is_alive
        for one in said:
            if found := _finding(node, one, is_alive=is_alive):
                yield (*found, node)


def readable_secrets(nodes: Mapping[NodeName, NodeView]) -> Iterator[tuple[str, str, NodeName]]:
    """As ``fence_findings``: options that every role of etcd reads, a reader's too, and that open a device."""
    for node, view in sorted(nodes.items()):
        for text in what_is_readable(view.spec.value) if view.spec else ():
            yield "fence-secret-readable", text, node


def what_is_readable(spec: NodeSpec) -> Iterator[str]:
    """A line for each device with such options, which names them."""
    for device in spec.fence:
        if options := device.secret_options:
            yield f"{device.agent} of {spec.name}: {', '.join(options)} can be read by everybody who reads the cluster"


def _finding(node: NodeName, one: FenceAnswer, *, is_alive: bool) -> tuple[str, str] | None:
    who = f"{one.agent} of {node}"
    match one.says:
        case FenceSays.MISSING:
            return "fence-missing", f"{who} can not be run on this host: {one.words}"
        case FenceSays.LATE:
            return "fence-hangs", f"{who} gave no answer within {one.timeout_s:g} s"
        case FenceSays.NOTHING:
            return _kind_of_failure(one), f"{who}: {one.words}"
        case FenceSays.OFF if is_alive:
            cut = "storage access" if one.role is FenceRole.STORAGE else "power"
            return "fence-says-off", f"{node} is alive, and {one.agent} says that its {cut} is off"
    if one.seconds > SLOW_S:
        return "fence-slow", f"{who} takes {one.seconds:.0f} s for an answer, and is asked three times"
    return None


def _kind_of_failure(one: FenceAnswer) -> str:
    if one.code is not None and one.code not in _CODES:
        return "fence-garbles"
    if _NOT_LET_IN.search(one.words) and not _NOBODY_THERE.search(one.words):
        return "fence-login"
    return "fence-fails"
