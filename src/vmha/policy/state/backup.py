"""What of a cluster's keys outlives the store that held them, and what a placement of the past may say in another.

A backup holds what operators have put down, and who held each vm. It holds nothing that is true only while it is said:
sessions, beats, observations, the leader, operations under way. Restored, a definition is what it was. A placement is
not: who held a vm then holds it no more, and may not be believed to. What is kept of it is the epoch, so that the next
holder's is above every one that was ever given, and a guest that departed stays departed.

The store is then on record as restored (``history``), so that nothing is started before it is certain what runs
(policy/deciding/restored.py).
"""

from dataclasses import replace

from vmha.model.ids import Epoch
from vmha.model.records import Phase, Placement, Reason, RunEnd
from vmha.policy.state.transitions import release

KEPT = (
    ("config",),
    ("schema",),
    ("pause",),
    ("domains", "*"),
    ("nodes", "*", "spec"),
    ("rules", "*"),
    ("services", "*"),
    ("vms", "*", "spec"),
    ("vms", "*", "placement"),
    ("vms", "*", "freeze"),
    ("uuids", "*"),
    ("removed", "*"),
)
"""Patterns of keys, as in ``model.keys``. Not proofs: they are about sessions, and no placement names one any more."""

EPOCH_GAP = 1000
"""Epochs that were given after the backup was made are below the next one by this, unless there were more of them."""

RULE = "restored-from-backup"


def is_kept(parts: tuple[str, ...]) -> bool:
    return tuple(part if at % 2 == 0 else "*" for at, part in enumerate(parts)) in KEPT


def of_the_past(placement: Placement, wall: float) -> Placement:
    """As it may stand in a store that nobody has claimed anything in.

    A saved state is not among it: the guest may have run from it since.
    """
    reason = Reason(rule=RULE, text="restored from a backup; it is decided anew")
    epoch = Epoch(placement.epoch + EPOCH_GAP)
    match placement.phase:
        case Phase.STOPPED | Phase.DEPARTED:
            return replace(placement, epoch=epoch, session=None, operation=None, cancel=None, saved=None, since=wall)
        case _:
            stopped = release(placement, RunEnd.NODE_LOST, "its run was before the backup was restored", wall)
            return replace(stopped, epoch=epoch, reason=reason, operation=None, cancel=None, saved=None)
