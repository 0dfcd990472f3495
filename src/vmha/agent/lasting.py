"""How long something has been so of a vm, by this agent's own looks: what passes in an instant decides nothing.

When it will have lasted long enough the vm is looked at again, because no event tells of time that has passed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from vmha.model.clock import Clock
from vmha.model.ids import VmName


@dataclass(slots=True)
class Lasting:
    """One thing that may be so of any vm; ``look_again`` is called for one of them when ``for_s`` seconds are over."""

    clock: Clock
    for_s: float
    look_again: Callable[[set[VmName]], None]
    _since: dict[VmName, float] = field(default_factory=dict)

    def has_lasted(self, vm: VmName, is_so: bool = True) -> bool:
        """It is so, or is not; whether it has been so without a break for long enough."""
        if not is_so:
            self._since.pop(vm, None)
            return False
        left = self._since.setdefault(vm, self.clock.now()) + self.for_s - self.clock.now()
        if left > 0:
            asyncio.get_running_loop().call_later(left, self.look_again, {vm})
        return left <= 0

    def ends(self, vm: VmName) -> None:
        self.has_lasted(vm, False)
