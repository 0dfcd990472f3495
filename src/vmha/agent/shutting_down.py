"""Asks a guest to shut itself down, the way its vm says: by its power button, or by the agent in it."""

import structlog

from vmha.hypervisor.calls import CallOverdue
from vmha.hypervisor.port import DomainMissing, Hypervisor
from vmha.model.errors import Refused
from vmha.model.ids import VmName
from vmha.model.vm import ShutdownBy

log = structlog.get_logger(__name__)


async def ask_to_shut_down(hypervisor: Hypervisor, vm: VmName, by: ShutdownBy, *, is_first: bool) -> str:
    """Returns what is to be shown of it: why nobody has heard it; '' when it may have been heard.

    By the agent first, and then by the power button: at once when nobody answers, else when it is asked again, for a
    guest that goes down is told twice by that at worst.
    """
    try:
        if by is ShutdownBy.ACPI or (by is ShutdownBy.AGENT_THEN_ACPI and not is_first):
            await hypervisor.shutdown(vm)
            return ""
        try:
            await hypervisor.shutdown(vm, by_agent=True)
        except DomainMissing:
            raise
        except Refused as error:  # there is none, it says nothing, or it may not do that
            log.info("its guest agent was not asked to shut it down", vm=vm, why=str(error))
            if by is ShutdownBy.AGENT:
                return f"its guest agent does not hear that it is to shut down (shutdown_by: {by})"
            await hypervisor.shutdown(vm)
    except DomainMissing:
        pass  # the next look sees it
    except Refused as error:
        return f"it can not be asked to shut down: {error}"
    except CallOverdue as error:
        if not error.is_begun:
            raise
    return ""
