"""A simulated host's guard at work on the twin's guests, and what its record says of them."""

from vmha.fencing.guard_state import Killed
from vmha.hypervisor.port import DomainState
from vmha.hypervisor.twin.fabric import SimulatedFabric
from vmha.hypervisor.twin.fabric_state import Guest


def kill_managed(fabric: SimulatedFabric, host: str) -> tuple[Killed, ...]:
    """Every managed guest of the host is ended at once."""
    return tuple(_killed(guest) for guest in fabric.kill_managed(host))


def _killed(guest: Guest) -> Killed:
    tag = guest.tag
    return Killed(
        uuid=guest.uuid,
        name=guest.name,
        pid=0,
        vm=tag.vm if tag else "",
        came_in=int(tag.epoch) if tag and guest.state is DomainState.ARRIVED else None,
    )
