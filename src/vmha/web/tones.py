"""How well something is, in five tones, and the one sentence that says how well all of it is.

``bad``: somebody should look now. ``warn``: not as it should be, and it holds. ``busy``: on its way. ``ok``. ``off``:
not wanted running. A tone is shown as a shape, a word and a colour, never by a colour alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vmha.model.records import ArmedLevel, HealthState
from vmha.operator.overview import NodeLine, Overview
from vmha.policy.members.membership import Condition
from vmha.policy.telling.explain import VmState, VmSummary

_VMS = {
    VmState.RUNNING: "ok",
    VmState.PAUSED: "warn",
    VmState.STARTING: "busy",
    VmState.STOPPING: "busy",
    VmState.MIGRATING: "busy",
    VmState.UNKNOWN: "bad",
    VmState.RECOVERING: "bad",
    VmState.WAITING: "warn",
    VmState.STOPPED: "off",
    VmState.DISABLED: "off",
    VmState.DEPARTED: "bad",
    VmState.UNMANAGED: "warn",
    VmState.DUPLICATE: "bad",
}
_NODES = {
    Condition.ONLINE: "ok",
    Condition.JOINING: "busy",
    Condition.UNFIT: "bad",
    Condition.MAINTENANCE: "off",
    Condition.LEAVING: "busy",
    Condition.SUSPECT: "bad",
    Condition.FENCING: "bad",
    Condition.LOST: "bad",
    Condition.OFFLINE: "warn",
}
RANK = {"bad": 0, "warn": 1, "busy": 2, "ok": 3, "off": 4}
"""The worst stands first."""

_TOLD_BY_WARNINGS = (VmState.DUPLICATE, VmState.DEPARTED, VmState.UNMANAGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    tone: str
    title: str


def vm_tone(vm: VmSummary) -> str:
    is_up = vm.state in (VmState.RUNNING, VmState.STARTING)
    if is_up and vm.health is HealthState.FAILING:
        return "bad"
    if is_up and vm.health is HealthState.UNKNOWN:
        return "warn"
    return _VMS[vm.state]


def node_tone(node: NodeLine) -> str:
    tone = _NODES[node.condition]
    return "warn" if tone == "ok" and node.armed is ArmedLevel.NONE else tone


def troubles(shown: Overview) -> Iterator[tuple[str, str | None]]:
    """What needs attention, the worst first, each with the vm it is about where it is about one."""
    for warning in shown.warnings:
        yield warning, None
    for vm in shown.vms:
        if vm_tone(vm) in ("bad", "warn") and vm.state not in _TOLD_BY_WARNINGS and not vm.frozen:
            if vm.state in (VmState.RUNNING, VmState.STARTING):
                continue  # its health is among the warnings
            yield f"is {vm.state}: {vm.reason}" if vm.reason else f"is {vm.state}", vm.name
    for node in shown.nodes:
        if node.condition is Condition.OFFLINE and not node.maintenance:
            yield f"node {node.name} is offline", None


def headline(shown: Overview, *, lost: str) -> Headline:
    """The whole cluster in some words: what is wrong, where anything is."""
    if lost:
        return Headline(tone="bad", title="The store does not answer")
    found = list(troubles(shown))
    if found:
        is_bad = bool(shown.warnings) or any(vm_tone(vm) == "bad" for vm in shown.vms)
        count = "One thing needs attention" if len(found) == 1 else f"{len(found)} things need attention"
        return Headline(tone="bad" if is_bad else "warn", title="; ".join(_clauses(shown)) or count)
    if shown.pause is not None:
        return Headline(tone="warn", title="Paused")
    if on_their_way := [vm.name for vm in shown.vms if vm_tone(vm) == "busy"]:
        return Headline(tone="busy", title=f"All is well; {_are(on_their_way, 'vm')} on the way")
    return Headline(tone="ok", title="All is well")


def _clauses(shown: Overview) -> Iterator[str]:
    """Who is not well, in a word each."""
    if twice := [vm.name for vm in shown.vms if vm.state is VmState.DUPLICATE]:
        yield f"{', '.join(twice)} {'runs' if len(twice) == 1 else 'run'} twice"
    if shown.leader is None and shown.nodes:
        yield "nobody leads"
    for condition in Condition:
        nodes = [n.name for n in shown.nodes if n.condition is condition and not n.maintenance]
        if nodes and _NODES[condition] in ("bad", "warn"):
            yield f"{_are(nodes, 'node')} {_IN_WORDS.get(condition, condition.value)}"
    for state in VmState:
        vms = [vm.name for vm in shown.vms if vm.state is state and not vm.frozen]
        if vms and _VMS[state] in ("bad", "warn") and state is not VmState.DUPLICATE:
            yield f"{_are(vms, 'vm')} {_IN_WORDS.get(state, state.value)}"
    if ill := [vm.name for vm in shown.vms if vm_tone(vm) == "bad" and _VMS[vm.state] in ("ok", "busy")]:
        yield f"{_are(ill, 'vm')} not answering"


_IN_WORDS = {
    Condition.SUSPECT: "suspected to be lost",
    Condition.FENCING: "being fenced",
    VmState.UNKNOWN: "out of sight",
    VmState.RECOVERING: "to be recovered",
}


def _are(names: Sequence[str], what: str) -> str:
    if len(names) <= 2:
        return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"
    return f"{len(names)} {what}s are"
