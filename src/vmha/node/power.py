"""The leader's power switch: standard fence agents, in the order the operator named them."""

from collections.abc import Sequence

from vmha.fencing.fence_agent import FenceDevice, power_off
from vmha.fencing.power import PowerOff
from vmha.model.errors import Rejected
from vmha.model.ids import NodeName
from vmha.model.vm import FenceDeviceSpec


class FenceAgents:
    async def power_off(self, node: NodeName, devices: Sequence[FenceDeviceSpec]) -> PowerOff:
        try:
            ready = [
                FenceDevice(agent=d.agent, options=d.options, timeout_s=d.timeout_s, retries=d.retries) for d in devices
            ]
        except Rejected as error:
            return PowerOff(confirmed=False, how=str(error))
        result = await power_off(ready, node)
        how = f"{result.agent}: {result.message}" if result.confirmed else result.message
        return PowerOff(confirmed=result.confirmed, how=how)
