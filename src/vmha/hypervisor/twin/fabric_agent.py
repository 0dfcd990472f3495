"""The guest agent in a guest of the simulated world: whether anybody answers there, and what it is told."""

import asyncio

from vmha.hypervisor.port import DomainState, GuestAgentMissing, GuestAgentSilent
from vmha.hypervisor.twin.fabric import SimulatedFabric
from vmha.hypervisor.twin.fabric_state import Guest
from vmha.model.errors import Refused

CHANNEL = "org.qemu.guest_agent"
ANSWER_S = 2.0


async def ask(guest: Guest, what: str, *, timeout_s: float = ANSWER_S) -> None:
    """
    Raises:
        GuestAgentMissing, GuestAgentSilent
    """
    if not guest.memory.has_agent and CHANNEL not in guest.xml:
        raise GuestAgentMissing(f"{what}: QEMU guest agent is not configured")
    if not guest.memory.has_agent:
        raise GuestAgentSilent(f"{what}: it is not connected")
    if guest.memory.is_hung or guest.is_frozen or guest.state is not DomainState.RUNNING:
        await asyncio.sleep(timeout_s)
        raise GuestAgentSilent(f"{what}: no answer within {timeout_s:g} s")


async def shut_down(fabric: SimulatedFabric, guest: Guest) -> None:
    """It obeys, whatever the guest makes of its power button.

    Raises:
        GuestAgentMissing, GuestAgentSilent
        Refused: it answers, and says no.
    """
    what = f"have the guest agent of {guest.name} shut it down"
    await ask(guest, what)
    if guest.memory.agent_refuses:
        raise Refused(f"{what}: Command guest-shutdown has been disabled")
    guest.memory.agent_was_told = True
    fabric.ask_shutdown(guest)
