"""Follows the guests that stand still here under our claim: for how long, and how often they were resumed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from vmha.model.clock import Clock
from vmha.model.ids import VmName
from vmha.model.records import SeenState
from vmha.model.vm import VmSpec
from vmha.policy.at_node.known import Local
from vmha.policy.at_node.paused import ASIDE, CALM_S, HUNG, USER, Reaction, Standing, react


def reason_of(local: Local) -> str | None:
    """Why it stands still; None: it does not, as far as is known. What was set aside stands as a user's pause does."""
    if local.migrating:
        return None
    if local.state is SeenState.PAUSED:
        return ASIDE if local.aside and local.reason == USER else local.reason
    return HUNG if local.silent and local.state is SeenState.RUNNING else None


@dataclass(slots=True)
class Pauses:
    clock: Clock
    look_again: Callable[[set[VmName]], None]
    _standing: dict[VmName, Standing] = field(default_factory=dict)
    _reactions: dict[VmName, Reaction] = field(default_factory=dict)

    def look(
        self, vm: VmName, local: Local | None, spec: VmSpec | None, *, is_held: bool, came_by_hand: bool
    ) -> Reaction:
        """What is to be done now about what was just seen. ``came_by_hand``: as its placement says."""
        now, before = self.clock.now(), self._standing.get(vm)
        reaction = Reaction()
        if local is None or spec is None or not is_held:
            self._standing.pop(vm, None)
        elif (reason := reason_of(local)) is not None:
            if before is None or before.reason != reason:
                before = Standing(reason=reason, since=now, seen=now)
            standing = self._standing[vm] = replace(before, seen=now)
            reaction = react(spec.on_pause, standing, now, no_kill=spec.no_kill, came_by_hand=came_by_hand)
        elif before is not None and (before.reason == HUNG or now - before.seen >= CALM_S):
            del self._standing[vm]
        self._reactions[vm] = reaction
        if reaction.wait_s is not None:
            asyncio.get_running_loop().call_later(reaction.wait_s, self.look_again, {vm})
        return reaction

    def tried(self, vm: VmName) -> bool:
        """It is being resumed; whether that is the first try since the trouble began."""
        standing = self._standing[vm]
        self._standing[vm] = standing.tried(self.clock.now())
        return standing.tries == 0

    def reaction(self, vm: VmName) -> Reaction:
        return self._reactions.get(vm, Reaction())
