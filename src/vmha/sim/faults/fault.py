"""What a kind of fault is: its name, how often it strikes, what its step says, and what it does to a world."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto

from vmha.sim.faults.schedule import Step, VmDrawn
from vmha.sim.faults.stage import Stage


class Takes(Enum):
    """What a step names."""

    NODE = auto()
    VM = auto()
    TO = auto()


def _any_vm(vm: VmDrawn) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind. ``do`` returns why there was nothing to do, '' or None when it struck."""

    name: str
    kind: str
    about: str
    weight: float
    do: Callable[[Stage, Step], Awaitable[str | None] | str | None]
    takes: tuple[Takes, ...] = ()
    for_s: tuple[float, float] | None = None
    """It lasts between these, in seconds, at the profile ``tuned``; None: it is over at once."""
    number: tuple[float, float] | None = None
    counts: bool = False
    """``number`` is a whole one."""
    scales: bool = True
    """A slower profile has it last longer in proportion."""
    is_mild: bool = False
    """As frequent in every life: what keeps a cluster alive and at work."""
    fits: Callable[[VmDrawn], bool] = _any_vm
