"""A simulated host's guard at work on the twin's guests, what its record says of them, and the agent's way to it."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from vmha.fencing.guard_state import Killed
from vmha.fencing.port import Guard, GuardStatus, GuardUnavailable
from vmha.hypervisor.port import DomainState
from vmha.hypervisor.states import Mark
from vmha.hypervisor.twin.fabric import SimulatedFabric
from vmha.hypervisor.twin.fabric_state import Guest
from vmha.model.ids import SessionId
from vmha.policy.deciding.post_copy import POSTCOPY

ANSWER_S = 0.5
"""For so long an agent waits for an answer, if it does not say for how long."""


class GuardLine:
    """The guard as its host's agent reaches it: through a socket, and on a busy host after a while.

    Half of that time passes before the guard has heard, half before its answer is read. What was sent is heard, also
    when nobody waits for the answer any more.
    """

    def __init__(self, guard: Guard, context: contextvars.Context) -> None:
        self._guard, self._context = guard, context
        self._sent: set[asyncio.Task[GuardStatus]] = set()
        self.slow_s = 0.0

    async def arm(self, session: SessionId, *, timeout_s: float = ANSWER_S, **how: Any) -> GuardStatus:
        """See ``Guard.arm``."""
        return await self._ask(partial(self._guard.arm, session, **how), timeout_s)

    async def beat(self, session: SessionId, *, timeout_s: float = ANSWER_S, **how: Any) -> GuardStatus:
        """See ``Guard.beat``."""
        return await self._ask(partial(self._guard.beat, session, **how), timeout_s)

    async def expire(self, session: SessionId, *, cause: str, timeout_s: float = ANSWER_S) -> GuardStatus:
        """See ``Guard.expire``."""
        return await self._ask(partial(self._guard.expire, session, cause=cause), timeout_s)

    async def disarm(self, session: SessionId, *, timeout_s: float = ANSWER_S) -> GuardStatus:
        """See ``Guard.disarm``."""
        return await self._ask(partial(self._guard.disarm, session), timeout_s)

    async def status(self, *, timeout_s: float = ANSWER_S) -> GuardStatus:
        """See ``Guard.status``."""
        return await self._ask(self._guard.status, timeout_s)

    async def gone(self) -> None:
        """See ``Guard.gone``."""
        await self._guard.gone()

    async def _ask(self, do: Callable[[], Awaitable[GuardStatus]], timeout_s: float) -> GuardStatus:
        if not self.slow_s:
            return await do()
        sent = asyncio.get_running_loop().create_task(self._late(do), name="asked guard", context=self._context)
        self._sent.add(sent)
        sent.add_done_callback(self._answered)
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(sent)
        except TimeoutError as error:
            raise GuardUnavailable(f"the guard did not answer within {timeout_s:g} s") from error

    async def _late(self, do: Callable[[], Awaitable[GuardStatus]]) -> GuardStatus:
        half_s = self.slow_s / 2
        await asyncio.sleep(half_s)
        try:
            return await do()
        finally:
            await asyncio.sleep(half_s)

    def _answered(self, sent: "asyncio.Task[GuardStatus]") -> None:
        self._sent.discard(sent)
        if not sent.cancelled():
            sent.exception()  # whoever still waits has it


def kill_managed(fabric: SimulatedFabric, host: str) -> tuple[Killed, ...]:
    """Every managed guest of the host is ended at once."""
    return tuple(_killed(guest) for guest in fabric.kill_managed(host))


def _killed(guest: Guest) -> Killed:
    tag = guest.tag
    return Killed(
        uuid=guest.uuid,
        name=guest.name,
        pid=0,
        vm=tag.vm if tag else "",
        came_in=int(tag.epoch) if tag and _has_come(guest) else None,
    )


def _has_come(guest: Guest) -> bool:
    """As ``fencing.qemu_processes`` reads it in libvirt's file."""
    if guest.state is DomainState.ARRIVED:
        return True
    return guest.state is DomainState.RUNNING and guest.mark is Mark.NONE and guest.reason in ("migrated", POSTCOPY)
