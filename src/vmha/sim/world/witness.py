"""What hosts really did of that which a node says of itself: when a guard began to count, was gone and was back; when
libvirt was asked what runs there, and answered; when an agent's process began.

A judge holds the store's records against it (``judge.of_fitness``). Nobody in the simulated cluster reads it.
"""

from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Any, NamedTuple

from vmha.fencing.port import GuardStatus, Killed
from vmha.fencing.simulated import SimulatedGuard
from vmha.hypervisor.port import DomainView
from vmha.hypervisor.twin.fabric import SimulatedFabric
from vmha.hypervisor.twin.simulated import SimulatedHypervisor
from vmha.model.clock import Clock
from vmha.model.ids import SessionId


class Act(StrEnum):
    """What was seen."""

    AGENT_BEGAN = "agent-began"
    LOOKED = "looked"  # at what runs here, and libvirt answered
    ARMED = "armed"  # the guard counts for that session
    GUARD_GONE = "guard-gone"
    GUARD_BACK = "guard-back"  # and counts on


def machine_of(host: str) -> str:
    """How a beat calls the machine that sent it: another one may use this one's name."""
    return f"machine-{host}"


class Sight(NamedTuple):
    """``at_s`` is the loop's time, ``clock_s`` what the host's own clock said then."""

    at_s: float
    clock_s: float
    host: str
    act: Act
    session: str = ""


class Witness:
    """One host's: appends to what all hosts of a world write down."""

    def __init__(self, sights: list[Sight], host: str, *, true: Clock, own: Clock) -> None:
        self._sights, self._host, self._true, self._own = sights, host, true, own

    def saw(self, act: Act, session: str = "") -> None:
        self._sights.append(Sight(self._true.now(), self._own.now(), self._host, act, session))


class WitnessedGuard(SimulatedGuard):
    """A guard that is seen to begin counting, to go, and to come back."""

    def __init__(self, witness: Witness, clock: Clock, kill: Callable[[], Collection[Killed]], **how: Any) -> None:
        super().__init__(clock, kill, **how)
        self._witness = witness

    async def arm(self, session: SessionId, **how: Any) -> GuardStatus:
        """See ``Guard.arm``."""
        status = await super().arm(session, **how)
        self._witness.saw(Act.ARMED, session)
        return status

    def stop(self) -> None:
        super().stop()
        self._witness.saw(Act.GUARD_GONE)

    def crash(self) -> None:
        super().crash()
        self._witness.saw(Act.GUARD_GONE)

    def restart(self) -> None:
        super().restart()
        self._witness.saw(Act.GUARD_BACK)


class WitnessedHypervisor(SimulatedHypervisor):
    """A libvirtd that is seen to answer what runs."""

    def __init__(self, witness: Witness, fabric: SimulatedFabric, host: str) -> None:
        super().__init__(fabric, host)
        self._witness = witness

    async def inventory(self) -> tuple[DomainView, ...]:
        """See ``Hypervisor.inventory``."""
        views = await super().inventory()
        self._witness.saw(Act.LOOKED)
        return views
