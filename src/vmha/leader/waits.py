"""Since when each vm has been waiting for what it waits for, by this leader's own plans.

A wait that is another one in the next plan begins anew. What it is used for: policy/deciding/passing.py.
"""

from collections.abc import Mapping

from vmha.leader.ages import AgesAt
from vmha.policy.state.steps import Plan, Wait


class Waits:
    def __init__(self) -> None:
        self._since: dict[Wait, float] = {}

    def took(self, plan: Plan, now: float) -> None:
        """The newest plan, made until ``now``: it is from then on that a wait counts, not from what was read for it."""
        before = self._since
        self._since = {wait: before.get(wait, now) for one in plan.waiting if (wait := one.wait) is not None}

    def at(self, now: float) -> Mapping[Wait, float]:
        return AgesAt(self._since, now)
