"""A guest of the simulated world boots again in its QEMU: asked to, or by its reset button."""

from functools import partial

from vmha.hypervisor.port import DomainState
from vmha.hypervisor.twin.fabric import SimulatedFabric
from vmha.hypervisor.twin.fabric_state import Guest, Host, Memory


def ask_reboot(fabric: SimulatedFabric, guest: Guest) -> None:
    """An obedient guest boots again after ``shutdown_s``, wherever it is by then."""
    name, memory = guest.name, guest.memory
    if memory.obeys_acpi:
        fabric.later(guest.host, fabric.timing.shutdown_s, lambda: _boot_again(fabric, name, memory))


def reset(fabric: SimulatedFabric, guest: Guest) -> None:
    """At once."""
    _boot_again(fabric, guest.name, guest.memory)


def _boot_again(fabric: SimulatedFabric, name: str, memory: Memory) -> None:
    """Whatever copies of the old memory there are become copies of the new one."""
    fresh = Memory(obeys_acpi=memory.obeys_acpi)
    for host, _ in fabric.instances(name):
        guest = fabric.host(host).guests[name]
        if guest.memory is not memory:
            continue
        guest.memory = fresh
        if guest.state is DomainState.RUNNING and not guest.host.is_frozen:
            fabric.later(guest.host, 0.0, partial(_tell, guest.host, guest.name))


def _tell(host: Host, name: str) -> None:
    if host.has_libvirtd:
        for listener in tuple(host.on_reboot):
            listener(name)
