"""Most nodes silent at once: rather the network than the nodes, so nobody is fenced for a while.

Hosts that a switch cuts off in one instant are noticed one after another, as their beats would have come. Whoever is
noticed first must not lose its power for that: it is waited until the others have beaten since, or are silent as well.
"""

from collections.abc import Mapping

from vmha.model.ids import NodeName
from vmha.policy.members.membership import Condition, Verdict
from vmha.policy.state.snapshot import Moment, Snapshot

MASS_LOSS_PATIENCE = 4
"""The brake holds for this many times ``dead_after_s``; a cluster that really lost most of its nodes then recovers."""

_SILENT = (Condition.SUSPECT, Condition.LOST, Condition.FENCING)


def is_mass_loss(verdicts: Mapping[NodeName, Verdict]) -> bool:
    """More than half of the nodes that had a session went silent together."""
    # One that is being fenced is no less silent: the brake must not let go and hold anew with every attempt.
    silent = [verdict for verdict in verdicts.values() if verdict.condition in _SILENT]
    return _are_most(len(silent), verdicts)


def is_brake_on(snapshot: Snapshot, moment: Moment) -> bool:
    """It is wanted, and has not held for as long as it may."""
    patience = MASS_LOSS_PATIENCE * snapshot.config.clockwork.dead_after_s
    is_over = moment.braked_since is not None and moment.now - moment.braked_since >= patience
    return snapshot.config.fencing.mass_loss_brake and not is_over


def may_be_mass_loss(snapshot: Snapshot, moment: Moment, verdicts: Mapping[NodeName, Verdict]) -> bool:
    """Nobody has shown yet that it is not: so many have sent no beat since the last one fell silent that is suspected.

    It passes by itself: a node that lives beats within ``beat_s``, and what is asked of it grows with the silence.
    """
    silent = [name for name, verdict in verdicts.items() if verdict.condition in _SILENT]
    new = [name for name in silent if verdicts[name].condition is not Condition.FENCING]
    if not new:
        return False
    last_s = min(_silence(name, moment) for name in new) - snapshot.config.clockwork.beat_s
    unheard = [name for name, verdict in verdicts.items() if verdict.is_alive and _silence(name, moment) >= last_s > 0]
    return _are_most(len(silent) + len(unheard), verdicts)


def _silence(name: NodeName, moment: Moment) -> float:
    return moment.silence_s.get(name, 0.0)


def _are_most(count: int, verdicts: Mapping[NodeName, Verdict]) -> bool:
    had_session = sum(verdict.condition is not Condition.OFFLINE for verdict in verdicts.values())
    return count > 1 and count * 2 > had_session
