"""A guest of the simulated world is made to stand still by what is below it: its disk, or its watchdog."""

from vmha.hypervisor.lifecycle import Lifecycle, Suspended
from vmha.hypervisor.port import DomainState
from vmha.hypervisor.twin.fabric_hosts import SimulatedHosts
from vmha.hypervisor.twin.fabric_state import Guest

UNTIL_IT_WRITES_S = 0.05


def fail_disk(fabric: SimulatedHosts, name: str, host: str, is_so: bool = True) -> None:
    """What runs there stands still by an I/O error, now and whenever it is resumed."""
    fabric.bad_disks = fabric.bad_disks | {(name, host)} if is_so else fabric.bad_disks - {(name, host)}
    if is_so and (guest := fabric.host(host).guests.get(name)) is not None:
        stop_by(fabric, guest, "ioerror", Suspended.IOERROR)


def stop_by(fabric: SimulatedHosts, guest: Guest, reason: str, detail: Suspended) -> None:
    if fabric.is_alive(guest) and guest.state is DomainState.RUNNING and guest.migration is None:
        fabric.stand(guest, DomainState.PAUSED, reason)
        fabric.emit(guest, Lifecycle.SUSPENDED, detail)


def note_run(fabric: SimulatedHosts, guest: Guest) -> None:
    """It begins to run: on a bad disk not for long."""
    if (guest.name, guest.host.name) in fabric.bad_disks:
        fabric.later(guest.host, UNTIL_IT_WRITES_S, lambda: stop_by(fabric, guest, "ioerror", Suspended.IOERROR))
