"""What lasts, and is about no vm by itself: a node's drain, the pause of the cluster. In whose story it is told.

The cause of a drain is its node's, whichever drain it was: of each, what it led to is what has that cause between its
beginning and the next one's. A pause is told of vms that have waited for its end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vmha.model.by_hand import DRAIN, PAUSED, RESUMED, UNDRAIN
from vmha.model.ids import NodeName
from vmha.model.records import JournalEntry
from vmha.policy.state.hands_off import PAUSED as PAUSED_RULE

_ENDS = {UNDRAIN: DRAIN, RESUMED: PAUSED}
_KINDS = (DRAIN, PAUSED, *_ENDS)
CLOCKS_DIFFER_S = 10.0
"""What comes of it is written by another host, whose clock may be behind."""


@dataclass(slots=True, kw_only=True)
class _Span:
    since: float
    until: float = float("inf")
    entries: list[JournalEntry] = field(default_factory=list)

    def touches(self, entry: JournalEntry) -> bool:
        if entry.cause and any(mine.kind in (PAUSED, RESUMED) and mine.cause == entry.cause for mine in self.entries):
            return True  # no two pauses have the same
        if not self.since - CLOCKS_DIFFER_S <= entry.at < self.until:
            return False
        if self.entries[0].kind in (PAUSED, RESUMED):
            return entry.reason is not None and entry.reason.rule == PAUSED_RULE
        return bool(entry.cause) and entry.cause == self.entries[0].cause


def lasts(entry: JournalEntry) -> bool:
    return entry.vm is None and entry.kind in _KINDS


def of_what_lasts(entries: Sequence[JournalEntry], own: Sequence[JournalEntry]) -> Iterator[JournalEntry]:
    """``entries`` in the order of time; ``own``: of the vm whose story it is."""
    for span in _spans(entries):
        if any(span.touches(entry) for entry in own):
            yield from span.entries


def _spans(entries: Sequence[JournalEntry]) -> list[_Span]:
    found: list[_Span] = []
    newest: dict[tuple[str, NodeName | None], _Span] = {}
    for entry in filter(lasts, entries):
        what = (_ENDS.get(entry.kind, entry.kind), entry.node)
        span = newest.get(what)
        if span is None or entry.kind not in _ENDS:
            if span is not None:
                span.until = entry.at
            # An end whose beginning has expired from the journal: it began before everything that is left.
            span = newest[what] = _Span(since=entry.at if entry.kind not in _ENDS else 0.0)
            found.append(span)
        span.entries.append(entry)
    return found
