"""Waits that pass by themselves, most of them in a moment: nodes have yet to join or to look, or others start first.

They are put on record when they have stood as they are for ``STANDS_S``, by the leader's own count. Where a whole
cluster comes up, or thousands of vms are asked for at once, each of them would be written twice or more otherwise: that
it waits, that it waits for something else, and where it starts. Nothing is decided by such a record, and who asks now
(``vm why``) is told what the vm waits for now.
"""

from vmha.policy.placing.limits import RULE as ENOUGH_AT_ONCE
from vmha.policy.state.snapshot import Moment
from vmha.policy.state.steps import Waiting

STANDS_S = 2.0
UNKNOWN = "its-whereabouts-are-unknown"
NO_NODE = "no-node-can-take-it"
PASSING = frozenset({UNKNOWN, NO_NODE, ENOUGH_AT_ONCE})
"""Rules."""


def left_until_noted(waiting: Waiting, moment: Moment) -> float:
    """In how many seconds this wait is to be put on record, if it is still the same then; 0: now."""
    if moment.waits_s is None or waiting.wait is None or waiting.wait[1] not in PASSING:
        return 0.0
    return max(0.0, STANDS_S - moment.waits_s.get(waiting.wait, 0.0))
