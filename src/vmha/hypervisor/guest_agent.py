"""Asking a guest's own agent whether it is there, through libvirt.

A guest without an agent fails at once; one that hangs, after the deadline, which libvirt itself keeps. Two questions at
a time at most: each holds one of the connection's few calls for as long as it waits.
"""

import math
from typing import TYPE_CHECKING

from vmha.hypervisor.connection import Channel
from vmha.hypervisor.port import GuestAgentMissing, GuestAgentSilent
from vmha.hypervisor.translate import is_connection_lost, is_missing, translate, words

if TYPE_CHECKING:
    import libvirt

AT_ONCE = 2
PING = '{"execute": "guest-ping"}'
SYNC_S = 5.0
"""libvirt first makes sure that the answer will be to this question, and gives that so long by itself."""


async def ping(channel: Channel, name: str, *, timeout_s: float) -> None:
    """See the port."""
    import libvirt

    what = f"ping the guest agent of {name}"

    def work(connection: "libvirt.virConnect") -> None:
        import libvirt_qemu

        libvirt_qemu.qemuAgentCommand(connection.lookupByName(name), PING, max(1, math.ceil(timeout_s)), 0)

    try:
        await channel.call(work, what=what, timeout_s=max(1.0, timeout_s) + SYNC_S)
    except libvirt.libvirtError as error:
        code = error.get_error_code()
        if code == libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED:
            raise GuestAgentMissing(f"{what}: {words(error)}") from error
        is_silent = code in (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_AGENT_UNSYNCED)
        if is_silent and not is_missing(error) and not is_connection_lost(error):
            raise GuestAgentSilent(f"{what}: {words(error)}") from error
        raise translate(error, what) from error
