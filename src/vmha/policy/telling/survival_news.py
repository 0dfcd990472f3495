"""When the answer to "would the loss of any one node be survived?" has changed enough to be told.

The answer *no* is on record (``survival``) from when it was told until *yes* is. So whoever leads next tells neither
again, and a cluster that survives writes nothing. An answer with other vms is another answer; where they run is not
part of it. *Not known* changes nothing: the last answer stands. So it is with a *no* after a *no* while there are nodes
that were not looked at: which ones these are may differ from one time to the next. A *no* after a *yes* is told with
how many they are.

What is told must have stood for ``STANDS_S``. While nodes join, vms start or a lost node's vms are recovered, the
answer is another one from one instant to the next.
"""

import hashlib
from dataclasses import dataclass

from vmha.model.ids import Revision
from vmha.model.survival import SurvivalRecord
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.survival import Survival
from vmha.policy.telling.survival_words import in_one_line

STANDS_S = 10.0
COSTS, SURVIVED = "loss-costs", "loss-survived"


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """``record`` None: it is survived again. ``expected``: the record's revision, 0: there is none."""

    record: SurvivalRecord | None
    expected: Revision
    kind: str
    text: str


def news_of(found: Survival, snapshot: Snapshot, *, wall: float) -> News | None:
    """What would be told of this answer. None: it is the one that was told last, or not known."""
    before = snapshot.survival
    expected = before.modified if before else Revision(0)
    if found.survives is None or (before is not None and found.unknown):
        return None
    if found.survives:
        if before is None:
            return None
        text = in_one_line(found) or "nothing runs that the loss of a node would cost"
        return News(record=None, expected=expected, kind=SURVIVED, text=text)
    names = sorted({one.vm for loss in found.losses for one in loss.vms})
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:32]
    if before is not None and before.value.digest == digest:
        return None
    text = in_one_line(found)
    record = SurvivalRecord(at=wall, vms=len(names), digest=digest, text=text)
    return News(record=record, expected=expected, kind=COSTS, text=text)


def is_same(one: News | None, other: News | None) -> bool:
    """Do they say the same, whenever they were thought of and however the places have changed?"""
    if one is None or other is None:
        return one is other
    digests = [news.record.digest if news.record else "" for news in (one, other)]
    return one.kind == other.kind and digests[0] == digests[1]
