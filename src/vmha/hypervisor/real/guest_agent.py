"""Asking a guest's own agent whether it is there, or to shut its guest down, through libvirt.

A guest without an agent fails at once; one that hangs, after the deadline, which libvirt itself keeps. Two questions at
a time at most: each holds one of the connection's few calls for as long as it waits.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from vmha.hypervisor.port import GuestAgentMissing, GuestAgentSilent
from vmha.hypervisor.real.connection import Channel
from vmha.hypervisor.real.translate import is_connection_lost, is_missing, translate, words

if TYPE_CHECKING:
    import libvirt

AT_ONCE = 2
SYNC_S = 5.0
"""libvirt first makes sure that the answer will be to this question, and gives that so long by itself."""
ANSWER_S, OBEYS_S = 2.0, 1.0
"""For the answer of one that is to shut its guest down, and until one that has not refused obeys."""


async def ping(channel: Channel, name: str, *, timeout_s: float) -> None:
    """See the port."""

    def work(connection: "libvirt.virConnect") -> None:
        _command(connection.lookupByName(name), "guest-ping", timeout_s)

    await _ask(channel, work, f"ping the guest agent of {name}", max(1.0, timeout_s) + SYNC_S)


async def shutdown(channel: Channel, name: str) -> None:
    """See the port. An agent that obeys does not answer, so it is asked before whether it is there.

    libvirt's own call would wait for the guest to be gone: with one thread for each, for all guests of a host.
    """

    def work(connection: "libvirt.virConnect") -> None:
        import libvirt

        domain = connection.lookupByName(name)
        _command(domain, "guest-ping", ANSWER_S)
        try:
            _command(domain, "guest-shutdown", OBEYS_S)
        except libvirt.libvirtError as error:
            if not _is_silence(error):
                raise

    await _ask(channel, work, f"have the guest agent of {name} shut it down", 2 * SYNC_S + ANSWER_S + OBEYS_S)


def _command(domain: "libvirt.virDomain", command: str, timeout_s: float) -> None:
    import libvirt_qemu

    libvirt_qemu.qemuAgentCommand(domain, f'{{"execute": "{command}"}}', max(1, math.ceil(timeout_s)), 0)


def _is_silence(error: "libvirt.libvirtError") -> bool:
    import libvirt

    silent = (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_AGENT_UNSYNCED)
    return error.get_error_code() in silent and not is_missing(error) and not is_connection_lost(error)


async def _ask(channel: Channel, work: Callable[["libvirt.virConnect"], None], what: str, timeout_s: float) -> None:
    import libvirt

    try:
        await channel.call(work, what=what, timeout_s=timeout_s)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED:
            raise GuestAgentMissing(f"{what}: {words(error)}") from error
        if _is_silence(error):
            raise GuestAgentSilent(f"{what}: {words(error)}") from error
        raise translate(error, what) from error
