"""Asking a probe from this node, once. Two adapters: ``real.NodeProbes`` and ``simulated.SimulatedProbes``.

A question ends by its probe's own ``timeout_s``, whatever it asks, and leaves no process behind. What the answer means
is decided in ``policy.at_node.health``. The guest agent is not asked here: that way leads through the hypervisor.
"""

from dataclasses import dataclass
from typing import Protocol

from vmha.model.health import Probe
from vmha.model.ids import NodeName, VmName
from vmha.policy.at_node.health import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    vm: VmName
    uuid: str
    node: NodeName
    probe: Probe


@dataclass(frozen=True, slots=True)
class Reply:
    """``text``: one line, short; '' when there is nothing to say."""

    answer: Answer
    text: str = ""


class Probes(Protocol):
    async def ask(self, question: Question) -> Reply:
        """Raises nothing but cancellation."""
