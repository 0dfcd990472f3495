"""Asks fence agents whether they could, and never to do it: their ``status``, or ``monitor`` where there is none.

Devices are asked at the same time, but for those that share an address: some power switches let in one at a time. Each
gets as long as it would have in earnest.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

from vmha.fencing.fence_agent import FenceDevice, FenceResult, Power, Trouble, monitor, power_status
from vmha.model.errors import Rejected
from vmha.model.fence_answer import FenceAnswer, FenceSays
from vmha.model.ids import NodeName
from vmha.model.vm import FenceDeviceSpec

AT_ONCE: Final = 8
"""Most fence agents are Python programs with many imports: a hundred of them at once would be felt by a node."""
_ADDRESSES: Final = ("ip", "ipaddr")
"""Options of the standard API that name a device over the network; the second is the older name."""


def device_of(spec: FenceDeviceSpec) -> FenceDevice:
    """Raises ``Rejected``: an option can not be given to a program."""
    return FenceDevice(
        agent=spec.agent,
        role=spec.role,
        options=spec.options,
        timeout_s=spec.timeout_s,
        retries=spec.retries,
        has_status=spec.has_status,
    )


async def ask_devices(nodes: Mapping[NodeName, Sequence[FenceDeviceSpec]]) -> dict[NodeName, tuple[FenceAnswer, ...]]:
    """What the devices of these nodes say, in their order. Bounded by their own timeouts; a bad one is an answer."""
    asked = [(node, spec) for node, specs in nodes.items() for spec in specs]
    lines: dict[str, list[int]] = {}
    for number, (_, spec) in enumerate(asked):
        address = next((spec.options[name] for name in _ADDRESSES if spec.options.get(name)), "")
        lines.setdefault(address or f"alone {number}", []).append(number)
    free = asyncio.Semaphore(AT_ONCE)

    async def in_turn(numbers: Sequence[int]) -> list[tuple[int, FenceAnswer]]:
        async with free:
            return [(number, await _ask(*asked[number])) for number in numbers]

    async with asyncio.TaskGroup() as tasks:
        begun = [tasks.create_task(in_turn(line), name=f"ask-fence-{where}") for where, line in lines.items()]
    answers = dict(chain.from_iterable(task.result() for task in begun))
    found: dict[NodeName, tuple[FenceAnswer, ...]] = {}
    for number, (node, _) in enumerate(asked):
        found[node] = (*found.get(node, ()), answers[number])
    return found


async def _ask(node: NodeName, spec: FenceDeviceSpec) -> FenceAnswer:
    try:
        device = device_of(spec)
    except Rejected as error:
        return FenceAnswer(agent=spec.agent, role=spec.role, says=FenceSays.NOTHING, words=str(error))
    result = await (power_status if device.has_status else monitor)(replace(device, retries=0), node)
    return FenceAnswer(
        agent=spec.agent,
        role=spec.role,
        says=_says(result),
        code=result.code,
        words=result.message,
        seconds=result.seconds,
        timeout_s=device.timeout_s,
    )


def _says(result: FenceResult) -> FenceSays:
    if result.trouble is not None:
        return {Trouble.MISSING: FenceSays.MISSING, Trouble.LATE: FenceSays.LATE}[result.trouble]
    if not result.confirmed:
        return FenceSays.NOTHING
    return {Power.ON: FenceSays.ON, Power.OFF: FenceSays.OFF, Power.UNKNOWN: FenceSays.READY}[result.power]
