"""What the leader needs to cut a node's power: one call, confirmed or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vmha.model.ids import NodeName
from vmha.model.vm import FenceDeviceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOff:
    """``confirmed``: a fence agent said, after the fact, that the node is off. ``how`` names it, for the record."""

    confirmed: bool
    how: str


class PowerSwitch(Protocol):
    async def power_off(self, node: NodeName, devices: Sequence[FenceDeviceSpec]) -> PowerOff:
        """Try the devices in order. Bounded by their own timeouts; never raises for a device that fails."""
