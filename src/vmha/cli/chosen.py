"""Which nodes and vms of a large cluster are shown: those that were asked for, else those that need attention.

Ten thousand lines on a screen say nothing. So on a screen a long table shows what is not as it should be, and says how
much else there is and how to see it. A pipe gets every line, and what was asked for by name or state is shown in full.
Imports no command-line library, as ``status_view``.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from vmha.cli.output import Screen

if TYPE_CHECKING:
    from vmha.operator.overview import NodeLine, Overview
    from vmha.policy.telling.explain import VmSummary

T = TypeVar("T")

NODES_AT_MOST, VMS_AT_MOST = 40, 100
"""A table of more rows is cut down on a screen."""
_AT_REST = ("running", "stopped", "disabled")
_ILL = ("failing", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """``nodes``: only these, and the vms that are there. ``states``: only vms in these."""

    nodes: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    every: bool = False

    @property
    def is_asked(self) -> bool:
        return bool(self.nodes or self.states)


AS_IT_IS = Chosen()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is shown, and for a table that was cut down the line that says so."""

    nodes: "tuple[NodeLine, ...]"
    vms: "tuple[VmSummary, ...]"
    of_nodes: str = ""
    of_vms: str = ""


def pick(shown: "Overview", chosen: Chosen, on: Screen | None) -> Part:
    """``on`` None: for programs, in full.

    Raises:
        UnknownName: a node that is not there.
    """
    if unknown := next((name for name in chosen.nodes if all(node.name != name for node in shown.nodes)), None):
        from vmha.operator.errors import unknown_name

        raise unknown_name("node", unknown, [node.name for node in shown.nodes])
    nodes = tuple(node for node in shown.nodes if not chosen.nodes or node.name in chosen.nodes)
    vms = tuple(vm for vm in shown.vms if _is_there(vm, chosen.nodes) and _is_in(vm, chosen.states))
    if chosen.every or on is None or on.width is None:
        return Part(nodes=nodes, vms=vms)
    remarkable = {node.name for node in nodes if _is_remarkable_node(node)}
    of_nodes = of_vms = ""
    if not chosen.nodes and len(nodes) > NODES_AT_MOST:
        nodes, of_nodes = _cut(nodes, [node for node in nodes if node.name in remarkable], NODES_AT_MOST, "nodes")
    if not chosen.is_asked and len(vms) > VMS_AT_MOST:
        vms, of_vms = _cut(vms, [vm for vm in vms if _is_remarkable_vm(vm)], VMS_AT_MOST, "vms")
    return Part(nodes=nodes, vms=vms, of_nodes=of_nodes, of_vms=of_vms)


def _cut(all_of: tuple[T, ...], remarkable: list[T], at_most: int, what: str) -> tuple[tuple[T, ...], str]:
    kept = tuple(remarkable[:at_most])
    ill, rest = len(remarkable) - len(kept), len(all_of) - len(remarkable)
    said = [f"{ill} more {what} that are not as they should be"] if ill else []
    said += [f"{rest} {what} of which there is nothing to say"] if rest else []
    options = "--all, --node NODE" + (", --state STATE" if what == "vms" else "")
    return kept, f"... and {', and '.join(said)} ({options})"


def _is_there(vm: "VmSummary", nodes: Collection[str]) -> bool:
    return not nodes or vm.node in nodes or vm.target in nodes


def _is_in(vm: "VmSummary", states: Collection[str]) -> bool:
    return not states or vm.state in states


def _is_remarkable_node(node: "NodeLine") -> bool:
    return node.condition != "online" or bool(node.fencing) or not node.eligible


def _is_remarkable_vm(vm: "VmSummary") -> bool:
    return vm.state not in _AT_REST or bool(vm.frozen) or vm.needs_restart or vm.health in _ILL
