"""The probes of a simulated node: a guest that runs here, and does not hang, answers at once.

``is_well(vm)`` knows; ``broken`` names the vms whose probes can not be asked here, with the words that a real node
would find.
"""

import asyncio
from collections.abc import Callable, Mapping

from vmha.model.ids import VmName
from vmha.policy.at_node.health import Answer
from vmha.probing.port import Question, Reply

ANSWER_S = 0.01


class SimulatedProbes:
    def __init__(self, is_well: Callable[[VmName], bool], broken: Mapping[str, str]) -> None:
        self._is_well, self._broken = is_well, broken

    async def ask(self, question: Question) -> Reply:
        if question.vm in self._broken:
            return Reply(Answer.NONE, self._broken[question.vm])
        if self._is_well(question.vm):
            await asyncio.sleep(ANSWER_S)
            return Reply(Answer.GOOD)
        await asyncio.sleep(question.probe.timeout_s)
        return Reply(Answer.BAD, f"no answer within {question.probe.timeout_s:g} s")
