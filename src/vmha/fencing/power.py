"""What the leader needs to cut a node's power: one call, confirmed or not."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from vmha.model.ids import NodeName
from vmha.model.settings import Proof
from vmha.model.vm import FenceDeviceSpec

Halt = Callable[[], Awaitable[str]]
"""Why nothing more may be switched; empty: go on. Asked immediately before each switching."""


async def always() -> str:
    """Nothing can stand in the way: for who switches by hand."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOff:
    """``confirmed``: a fence agent said, after the fact, that the node is off. ``how`` names it, for the record.

    ``proof``: what that proves; an agent that cuts storage proves less than one that cuts power.
    """

    confirmed: bool
    how: str
    proof: Proof = Proof.POWER_OFF_CONFIRMED


class PowerSwitch(Protocol):
    async def power_off(self, node: NodeName, devices: Sequence[FenceDeviceSpec], *, halt: Halt) -> PowerOff:
        """Try the devices in order. Bounded by their own timeouts; never raises for a device that fails.

        ``halt`` is asked before each attempt: a node that came back must not be hit by what was decided before.
        """

    async def give_back(self, node: NodeName, devices: Sequence[FenceDeviceSpec]) -> PowerOff:
        """Give the node what its devices of the role ``storage`` took: their action "on". Confirmed: all did."""

    async def power_on(self, node: NodeName, devices: Sequence[FenceDeviceSpec], *, halt: Halt) -> PowerOff:
        """Try the devices of the role ``power`` in order. Confirmed: one did it, and its status says no longer "off".

        It proves nothing but itself; ``proof`` has no meaning here.
        """
