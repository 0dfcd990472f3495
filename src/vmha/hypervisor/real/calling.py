"""One call of libvirt's, in its lane, with its deadline, and its errors in the port's words."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from vmha.hypervisor.real.connection import Channel
from vmha.hypervisor.real.translate import is_connection_lost, translate, words
from vmha.model.errors import VmhaError

if TYPE_CHECKING:
    import libvirt

T = TypeVar("T")


async def call(
    channel: Channel,
    work: Callable[["libvirt.virConnect"], T],
    what: str,
    timeout_s: float,
    *,
    failure: type[VmhaError] | None = None,
    when_late: Callable[["libvirt.virConnect", T], None] | None = None,
) -> T:
    """One call with its deadline, libvirt's error translated; ``failure`` takes those that are about the request."""
    import libvirt

    try:
        return await channel.call(work, what=what, timeout_s=timeout_s, when_late=when_late)
    except libvirt.libvirtError as error:
        if failure is not None and not is_connection_lost(error):
            raise failure(f"{what}: {words(error)}") from error
        raise translate(error, what) from error
