"""Saving a guest's memory to the simulated world's shared files, and letting a guest go on from there.

As libvirt does it: the guest stands while its memory is written, the file is torn until all of it is there, and a
guest whose saving fails or is broken off goes on; the torn file is removed unless the host itself went away.
"""

import asyncio

from vmha.hypervisor.answers import fail, promise, succeed
from vmha.hypervisor.lifecycle import Lifecycle, Started, Stopped, Suspended
from vmha.hypervisor.port import DomainState, SaveFailed, StartFailed, Tag
from vmha.hypervisor.twin.fabric_frozen import waits_for
from vmha.hypervisor.twin.fabric_hosts import SimulatedHosts
from vmha.hypervisor.twin.fabric_state import Guest, Host
from vmha.hypervisor.twin.simulated_files import SavedMemory, SharedFiles
from vmha.model import domain_xml

RESUMED_FROM_SNAPSHOT = 2  # libvirt's VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT


__all__ = ["SharedFiles", "begin_restore", "begin_save", "call_off", "note_run"]


def note_run(fabric: SimulatedHosts, guest: Guest) -> None:
    """It begins to run: from now on its disk is newer than every memory that was saved before."""
    runs = fabric.files.runs
    if guest.runs_before is not None:
        guest.is_stale = runs.get(guest.name, 0) != guest.runs_before
        guest.runs_before = None
    runs[guest.name] = runs.get(guest.name, 0) + 1


def begin_save(fabric: SimulatedHosts, guest: Guest, path: str) -> "asyncio.Future[None]":
    """A QEMU that stands still begins with it when it goes on, and after all that it was asked before."""
    done: asyncio.Future[None] = promise(asyncio.get_running_loop())

    def begin() -> None:
        if not done.done():  # else nobody waits for it any more
            _begin_save(fabric, guest, path, done)

    if not waits_for(guest, begin):
        begin()
    return done


def _begin_save(fabric: SimulatedHosts, guest: Guest, path: str, done: "asyncio.Future[None]") -> None:
    if path in fabric.files.broken or guest.is_saving or guest.is_starting or guest.migration is not None:
        why = "another job is active" if path not in fabric.files.broken else "no space left on device"
        fabric.later(
            guest.host, fabric.timing.refusal_s, lambda: fail(done, SaveFailed(f"save {guest.name} to {path}: {why}"))
        )
        return
    tag = guest.tag
    xml = guest.xml if tag is None else retag(guest, tag)
    memory = SavedMemory(xml=xml, memory=guest.memory, runs=fabric.files.runs.get(guest.name, 0))
    fabric.files.held[path] = memory
    guest.is_saving = True
    was_running = guest.state is DomainState.RUNNING
    fabric.stand(guest, DomainState.PAUSED, "save")
    fabric.emit(guest, Lifecycle.SUSPENDED, Suspended.PAUSED)

    def finish() -> None:
        if waits_for(guest, finish):
            return
        if not fabric.is_alive(guest):
            if fabric.files.held.get(path) is memory:
                del fabric.files.held[path]
            fail(done, SaveFailed(f"save {guest.name} to {path}: its QEMU ended"))
            return
        if not guest.is_saving:
            return
        guest.is_saving = False
        if path in fabric.files.broken:
            fabric.files.held.pop(path, None)
            if was_running:
                fabric.run(guest, "save_canceled")
            fail(done, SaveFailed(f"save {guest.name} to {path}: no space left on device"))
            return
        memory.is_complete = True
        fabric.remove(guest, Stopped.SAVED)
        succeed(done, None)

    fabric.later(guest.host, fabric.timing.save_s, finish)


def call_off(fabric: SimulatedHosts, guest: Guest, path: str) -> None:
    """A save that takes too long: the guest goes on."""
    if fabric.is_alive(guest) and guest.is_saving:
        guest.is_saving = False
        fabric.files.held.pop(path, None)
        fabric.run(guest, "save_canceled")


def begin_restore(fabric: SimulatedHosts, host: Host, path: str, xml: str, tag: Tag) -> "asyncio.Future[Guest]":
    """The caller has checked that name and uuid are free, and that the file is this vm's."""
    done: asyncio.Future[Guest] = promise(asyncio.get_running_loop())
    facts = domain_xml.parse_domain(xml)
    saved = fabric.files.held.get(path)
    if not isinstance(saved, SavedMemory) or not saved.is_complete:
        text = f"restore {facts.name}: {path} is no complete saved state"
        fabric.later(host, fabric.timing.refusal_s, lambda: fail(done, StartFailed(text)))
        return done
    saved.memory.shutdown_asked = False
    guest = Guest(
        name=facts.name,
        uuid=facts.uuid or "",
        xml=xml,
        host=host,
        state=DomainState.PAUSED,
        reason="starting_up",
        tag=tag,
        memory=saved.memory,
        is_starting=True,
        runs_before=saved.runs,
    )
    host.guests[guest.name] = guest
    host.log.pop(guest.name, None)

    def finish() -> None:
        if not fabric.is_alive(guest):
            fail(done, StartFailed(f"restore {guest.name}: its QEMU ended at once"))
            return
        guest.is_starting = False
        fabric.run(guest, "restored")
        fabric.emit(guest, Lifecycle.STARTED, Started.RESTORED)
        fabric.emit(guest, Lifecycle.RESUMED, RESUMED_FROM_SNAPSHOT)
        succeed(done, guest)

    fabric.later(host, fabric.timing.save_s, finish)
    return done


def retag(guest: Guest, tag: Tag) -> str:
    """The definition as libvirt would write it down: with the tag that the guest has by now."""
    return domain_xml.tagged(guest.xml, cluster=tag.cluster, vm=tag.vm, epoch=tag.epoch, uuid=guest.uuid)
