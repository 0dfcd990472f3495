"""What is done to one domain, in blocking calls that run in a lane's thread. Each looks before it says it is done."""

import contextlib
from typing import TYPE_CHECKING

from vmha.hypervisor.port import HypervisorUnavailable
from vmha.hypervisor.real import reading
from vmha.hypervisor.real.translate import is_connection_lost, is_missing, words
from vmha.hypervisor.states import Mark, Paused, RawState, has_switched
from vmha.model.domain_xml import DomainFacts
from vmha.model.errors import Refused

if TYPE_CHECKING:
    import libvirt


def is_clash(connection: "libvirt.virConnect", error: "libvirt.libvirtError", facts: DomainFacts) -> bool:
    """Whether a start failed because the name or the uuid is taken: libvirt has no code of its own for that."""
    import libvirt

    if error.get_error_code() not in (libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_ERR_OPERATION_INVALID):
        return False
    with contextlib.suppress(libvirt.libvirtError):
        connection.lookupByName(facts.name)
        return True
    if facts.uuid is not None:
        with contextlib.suppress(libvirt.libvirtError):
            connection.lookupByUUIDString(facts.uuid)
            return True
    return False


def call_off(connection: "libvirt.virConnect", name: str) -> None:
    """End a start that hangs half-way, so that its call returns. A guest that has started is let alone.

    One whose memory is still being read from a file looks like one that migrates in.
    """
    import libvirt

    try:
        domain = connection.lookupByName(name)
        state, reason, *_ = domain.state()
        if state == RawState.PAUSED and reason in (Paused.STARTING_UP, Paused.MIGRATION):
            domain.destroy()
    except libvirt.libvirtError as error:
        if not is_missing(error):
            raise


def resume(domain: "libvirt.virDomain", *, seen_arriving: bool) -> None:
    """Let a guest run, and take the mark of a hand-over off.

    Raises:
        Refused: its memory has not come completely; resuming it would run garbage.
    """
    import libvirt

    name = domain.name()
    mark = reading.mark_of(reading.read_tag(domain))
    if mark is Mark.SECOND:
        raise Refused(f"{name} is a second copy: it must not go on")
    state, reason, *_ = domain.state()
    if has_switched(state, reason):
        raise Refused(f"{name} goes on where it was sent to: its memory is there, or was")
    if (state, reason) == (RawState.PAUSED, Paused.MIGRATION) and (mark.is_handover or seen_arriving):
        raise Refused(f"{name} is still on its way in")
    if state == RawState.PAUSED and not (mark is Mark.PAUSED and reason == Paused.USER):
        try:
            domain.resume()
        except libvirt.libvirtError:
            if domain.state()[0] != RawState.RUNNING:  # somebody was faster: as asked
                raise
    if mark is not Mark.NONE:
        take_mark_off(domain)


def press_power_button(domain: "libvirt.virDomain") -> None:
    import libvirt

    domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)


def take_mark_off(domain: "libvirt.virDomain") -> None:
    """End a hand-over in the tag, or its being aside; the rest of the tag stays as it is by now."""
    tag = reading.read_tag(domain)
    if tag is not None and reading.mark_of(tag).ends_when_it_runs:
        reading.write_tag(domain, tag._replace(handover=""))


def destroy(connection: "libvirt.virConnect", name: str) -> None:
    """End the QEMU. libvirt's own destroy returns when the process is gone: SIGTERM, after 10 s SIGKILL.

    Raises:
        HypervisorUnavailable: it is not known to be gone.
    """
    import libvirt

    try:
        domain = connection.lookupByName(name)
        if domain.isActive():
            domain.destroy()
        is_gone = not domain.isActive()
    except libvirt.libvirtError as error:
        if is_missing(error):
            return
        if is_connection_lost(error) or _is_active(connection, name):
            raise HypervisorUnavailable(f"destroy {name}: {words(error)}") from error
        return  # it ended by itself in between
    if not is_gone:
        raise HypervisorUnavailable(f"destroy {name}: it runs again, or still")


def _is_active(connection: "libvirt.virConnect", name: str) -> bool:
    import libvirt

    try:
        return bool(connection.lookupByName(name).isActive())
    except libvirt.libvirtError as error:
        if is_missing(error):
            return False
        raise HypervisorUnavailable(f"look for {name}: {words(error)}") from error
