"""One QEMU that gets no processor time (SIGSTOP), on a host that is well.

Its guest stands, its monitor answers nothing, and nothing of a migration that needs it moves on: not the copy, not the
switch, and not the abort either. libvirt shows it as before, and SIGKILL ends it as ever. What it was asked meanwhile
happens when it goes on.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from vmha.hypervisor.fabric_state import Deed, Guest, Migration
from vmha.hypervisor.port import DomainState

if TYPE_CHECKING:
    from vmha.hypervisor.fabric import SimulatedFabric


def freeze(fabric: "SimulatedFabric", name: str, host: str) -> None:
    """The QEMU of ``name`` on ``host``, if there is one."""
    guest = fabric.host(host).guests.get(name)
    if guest is not None and not guest.is_frozen:
        guest.is_frozen = True
        if guest.state is DomainState.RUNNING:
            fabric.record(guest, Deed.STANDS)


def thaw(fabric: "SimulatedFabric", name: str, host: str) -> None:
    guest = fabric.host(host).guests.get(name)
    if guest is None or not guest.is_frozen:
        return
    guest.is_frozen = False
    if guest.state is DomainState.RUNNING:
        fabric.record(guest, Deed.RUNS)
    waiting, guest.waiting = guest.waiting, []
    for go_on in waiting:
        go_on()


def waits_for(guest: Guest | None, work: Callable[[], None]) -> bool:
    """Whether ``work`` has to wait until this QEMU goes on; it is done then, unless the QEMU has ended."""
    if guest is None or not guest.is_frozen or guest.host.guests.get(guest.name) is not guest:
        return False
    guest.waiting.append(work)
    return True


def waits_for_either(migration: Migration, work: Callable[[], None]) -> bool:
    return waits_for(migration.source, work) or waits_for(migration.target, work)
