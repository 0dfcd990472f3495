"""libvirt's events, brought from its thread to the event loop in the order they came.

The callbacks run in libvirt's event thread: they take the few facts out of libvirt's objects there and hand them over.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from vmha.hypervisor.real.reading import find_departure
from vmha.model import domain_xml
from vmha.model.migration import Arrival

if TYPE_CHECKING:
    import libvirt


class EventSink(Protocol):
    """Where events go, on the event loop's thread."""

    def on_lifecycle(self, name: str, event: int, detail: int) -> None: ...

    def on_watchdog(self, name: str, action: int) -> None: ...

    def on_reboot(self, name: str) -> None:
        """The guest begins to boot again, in the same QEMU."""

    def on_migration_pass(self, name: str, number: int) -> None:
        """A migration out of this host begins its pass ``number`` over the guest's memory."""

    def on_departure(self, name: str, took: Arrival) -> None:
        """A migration out of this host is over, and this is what it took."""

    def on_change(self, name: str, kind: str) -> None:
        """Anything else that is worth another look."""


def register(connection: "libvirt.virConnect", loop: asyncio.AbstractEventLoop, sink: EventSink) -> list[int]:
    """Blocking; returns the callbacks' numbers, for deregistration."""
    import libvirt

    def post(deliver: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed
            loop.call_soon_threadsafe(deliver, *args)

    def lifecycle(_connection: object, domain: "libvirt.virDomain", event: int, detail: int, _: object) -> None:
        post(sink.on_lifecycle, domain.name(), event, detail)

    def watchdog(_connection: object, domain: "libvirt.virDomain", action: int, _: object) -> None:
        post(sink.on_watchdog, domain.name(), action)

    def reboot(_connection: object, domain: "libvirt.virDomain", _: object) -> None:
        post(sink.on_reboot, domain.name())

    def migration_pass(_connection: object, domain: "libvirt.virDomain", number: int, _: object) -> None:
        post(sink.on_migration_pass, domain.name(), number)

    def metadata(_connection: object, domain: "libvirt.virDomain", _kind: int, uri: str | None, _: object) -> None:
        if uri == domain_xml.NAMESPACE:
            post(sink.on_change, domain.name(), "retagged")

    def job_completed(_connection: object, domain: "libvirt.virDomain", stats: dict[str, Any], _: object) -> None:
        if took := find_departure(stats):
            post(sink.on_departure, domain.name(), took)
        post(sink.on_change, domain.name(), "job_completed")

    callbacks: tuple[tuple[int, Callable[..., None]], ...] = (
        (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle),
        (libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG, watchdog),
        (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, reboot),
        (libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, migration_pass),
        (libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, metadata),
        (libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, job_completed),
    )
    return [connection.domainEventRegisterAny(None, number, callback, None) for number, callback in callbacks]
