"""One QEMU that gets no processor time (SIGSTOP), on a host that is well.

Its guest stands, its monitor answers nothing, and nothing of a migration that needs it moves on: not the copy, not the
switch, and not the abort either. libvirt shows it as before, and SIGKILL ends it as ever. What it was asked meanwhile
happens when it goes on.
"""

from collections.abc import Callable

from vmha.hypervisor.port import DomainState
from vmha.hypervisor.twin.fabric_hosts import SimulatedHosts
from vmha.hypervisor.twin.fabric_state import Deed, Guest, Migration


def freeze(fabric: SimulatedHosts, name: str, host: str) -> None:
    """The QEMU of ``name`` on ``host``, if there is one."""
    guest = fabric.host(host).guests.get(name)
    if guest is not None and not guest.is_frozen:
        guest.is_frozen, guest.frozen_at = True, fabric.clock.now()
        if guest.state is DomainState.RUNNING:
            fabric.record(guest, Deed.STANDS)
        fabric.later(guest.host, fabric.timing.silent_s, lambda: _tell(fabric, guest))


def thaw(fabric: SimulatedHosts, name: str, host: str) -> None:
    guest = fabric.host(host).guests.get(name)
    if guest is None or not guest.is_frozen:
        return
    was_silent, guest.is_frozen = is_silent(fabric, guest), False
    if was_silent:
        fabric.later(guest.host, 0.0, lambda: _tell(fabric, guest))
    if guest.state is DomainState.RUNNING:
        fabric.record(guest, Deed.RUNS)
    waiting, guest.waiting = guest.waiting, []
    for go_on in waiting:
        go_on()


def is_silent(fabric: SimulatedHosts, guest: Guest) -> bool:
    """It has answered nothing for so long that it is noticed; of one on its way that is not found out."""
    is_asked = guest.state is DomainState.RUNNING and guest.migration is None
    return guest.is_frozen and is_asked and fabric.clock.now() - guest.frozen_at >= fabric.timing.silent_s


def _tell(fabric: SimulatedHosts, guest: Guest) -> None:
    if fabric.is_alive(guest) and guest.host.has_libvirtd:
        for listener in tuple(guest.host.on_silence):
            listener(guest.name)


def waits_for(guest: Guest | None, work: Callable[[], None]) -> bool:
    """Whether ``work`` has to wait until this QEMU goes on; it is done then, unless the QEMU has ended."""
    if guest is None or not guest.is_frozen or guest.host.guests.get(guest.name) is not guest:
        return False
    guest.waiting.append(work)
    return True


def waits_for_either(migration: Migration, work: Callable[[], None]) -> bool:
    return waits_for(migration.source, work) or waits_for(migration.target, work)
