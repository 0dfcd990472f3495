"""The leader's power switch: standard fence agents, in the order the operator named them."""

from collections.abc import Sequence

from vmha.fencing.asking import device_of
from vmha.fencing.fence_agent import power_off, power_on, switch_on
from vmha.fencing.power import Halt, PowerOff
from vmha.model.errors import Rejected
from vmha.model.ids import NodeName
from vmha.model.settings import Proof
from vmha.model.vm import FenceDeviceSpec, FenceRole


class FenceAgents:
    async def power_off(self, node: NodeName, devices: Sequence[FenceDeviceSpec], *, halt: Halt) -> PowerOff:
        try:
            ready = [device_of(spec) for spec in devices]
        except Rejected as error:
            return PowerOff(confirmed=False, how=str(error))
        result = await power_off(ready, node, halt=halt)
        proof = Proof.STORAGE_FENCED if result.role is FenceRole.STORAGE else Proof.POWER_OFF_CONFIRMED
        return PowerOff(confirmed=result.confirmed, how=result.message, proof=proof)

    async def power_on(self, node: NodeName, devices: Sequence[FenceDeviceSpec], *, halt: Halt) -> PowerOff:
        try:
            ready = [device_of(spec) for spec in devices]
        except Rejected as error:
            return PowerOff(confirmed=False, how=str(error))
        result = await switch_on(ready, node, halt=halt)
        return PowerOff(confirmed=result.confirmed, how=result.message)

    async def give_back(self, node: NodeName, devices: Sequence[FenceDeviceSpec]) -> PowerOff:
        said = []
        for spec in devices:
            if spec.role is FenceRole.STORAGE:
                try:
                    result = await power_on(device_of(spec), node)
                except Rejected as error:
                    return PowerOff(confirmed=False, how=str(error), proof=Proof.STORAGE_FENCED)
                said.append(f"{result.agent}: {result.message}")
                if not result.confirmed:
                    return PowerOff(confirmed=False, how="; ".join(said), proof=Proof.STORAGE_FENCED)
        return PowerOff(confirmed=True, how="; ".join(said), proof=Proof.STORAGE_FENCED)
