"""A vm's history as sentences, one cause chained to the next: told from the journal, which holds all of it as data.

A *chapter* is what followed from one cause without anything else in between. To a vm's story belong its own entries,
and those about nodes that share a cause with one of them: that h1 fell silent and how it was fenced is part of the
story of each vm that was recovered for it; so are a drain and a pause (spans.py). What has expired from the journal is
not told.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from vmha.model.ids import CauseId, NodeName, VmName
from vmha.model.records import Candidate, Hand, JournalEntry
from vmha.model.settings import Proof
from vmha.policy.telling.spans import lasts, of_what_lasts

REFUSALS_TOLD = 4
BEAT_S = 2.0
"""No node that beats is silent for longer."""

_PROOFS = {
    Proof.RELEASED: "by its own word",
    Proof.GUARD_ELAPSED: "by its guard",
    Proof.WATCHDOG_ELAPSED: "by its watchdog",
    Proof.POWER_OFF_CONFIRMED: "by power off",
    Proof.STORAGE_FENCED: "by its disks",
    Proof.OPERATOR_CONFIRMED: "by an operator's word",
}
_BACK = ("claimed", "runs")
"""Kinds that are told with the time that has passed since the loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that happened. ``after_loss_s``: since the node fell silent, where that is what it came of."""

    at: float
    text: str
    kind: str
    by: NodeName
    node: NodeName | None = None
    rule: str = ""
    candidates: tuple[Candidate, ...] = ()
    after_loss_s: float | None = None
    hand: Hand | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    cause: CauseId
    lines: tuple[Line, ...]


def tell(entries: Iterable[JournalEntry], vm: VmName, *, since: float = 0.0) -> tuple[Chapter, ...]:
    """In the order of time. ``since``: chapters that were over before then are left out."""
    known = list(entries)
    causes = {entry.cause for entry in known if entry.vm == vm and entry.cause}
    mine = [
        entry for entry in known if entry.vm == vm or (entry.vm is None and entry.cause in causes and not lasts(entry))
    ]
    mine += of_what_lasts(sorted(known, key=lambda entry: entry.at), [entry for entry in mine if entry.vm == vm])
    silent_since = _silences(mine)
    told: list[tuple[CauseId, Line]] = []
    for entry in mine:
        silence = silent_since.get(entry.cause)
        if silence is not None and silence[1] is entry:
            # Its last beat came up to a beat before; what was still told of the vm then had come to its end.
            last = max((one.at for one in mine if one.at <= silence[0] + BEAT_S and one is not entry), default=0.0)
            told.append((entry.cause, _fell_silent(entry, min(entry.at, max(silence[0], last)))))
        told.append((entry.cause, _line(entry, vm, silence[0] if silence else None)))
    told.sort(key=lambda each: each[1].at)
    chapters = [Chapter(cause=cause, lines=tuple(line for _, line in group)) for cause, group in _by_cause(told)]
    return tuple(chapter for chapter in chapters if chapter.lines[-1].at >= since)


def _by_cause(told: list[tuple[CauseId, Line]]) -> Iterator[tuple[CauseId, Iterator[tuple[CauseId, Line]]]]:
    """What has no cause on record stands by itself."""
    keys = [cause or CauseId(f"?{at}") for at, (cause, _) in enumerate(told)]
    for _, group in groupby(zip(keys, told, strict=True), key=lambda each: each[0]):
        lines = [each for _, each in group]
        yield lines[0][0], iter(lines)


def _silences(entries: list[JournalEntry]) -> dict[CauseId, tuple[float, JournalEntry]]:
    """For each loss, when the node fell silent, and the entry that tells of it first."""
    found: dict[CauseId, tuple[float, JournalEntry]] = {}
    for entry in entries:
        if entry.since and entry.cause and entry.cause not in found:
            found[entry.cause] = (entry.since, entry)
    return found


def _fell_silent(entry: JournalEntry, at: float) -> Line:
    return Line(at=at, text=f"{entry.node} fell silent", kind="silent", by=entry.by, node=entry.node)


def _line(entry: JournalEntry, vm: VmName, silent_since: float | None) -> Line:
    text = _said(entry, vm)
    after = round(entry.at - silent_since, 1) if silent_since is not None and entry.kind in _BACK else None
    return Line(
        at=entry.at,
        text=text if after is None else f"{text}, {after:g} s after the loss",
        kind=entry.kind,
        by=entry.by,
        node=entry.node,
        rule=entry.reason.rule if entry.reason else "",
        candidates=entry.reason.candidates if entry.reason else (),
        after_loss_s=after,
        hand=entry.hand,
    )


def _said(entry: JournalEntry, vm: VmName) -> str:
    text, node = entry.text, entry.node
    match entry.kind:
        case "fencing":
            return f"{node} is to be fenced: {text}"
        case "fencing-failed":
            return f"{node} was not fenced: {text}"
        case "fenced":
            proof, _, how = text.partition(": ")
            return f"{node} was fenced {_PROOFS[Proof(proof)]} ({how})" if proof in tuple(Proof) else text
        case "assign":
            return f"{vm} is to start on {node}, because {text}{_refusals(entry)}"
        case "recover":
            return f"{vm} is recovered on {node}, because {text}{_refusals(entry)}"
        case "migrate":
            return f"{vm} is to go to {node} live, because {text}{_refusals(entry)}"
        case "stop":
            return f"{vm} is to stop on {node}, because {text}"
        case "withdraw":
            return f"its start is called off: {text}"
        case "cancel":
            return f"its migration is called off: {text}"
        case "adopt":
            return f"{vm} is {text}"
        case "adopted":
            return f"{node} holds it from now on"
        case "claimed":
            return f"{node} starts it"
        case "arrived":
            return f"it has arrived on {node}, and goes on there"
        case "note":
            return f"{vm} waits: {text}"
        case "release":
            return f"nobody holds it any more: {text}"
        case "depart" | "departed":
            return f"{vm} has departed: {text}"
        case "settled":
            return f"its {text}"
        case "frozen" | "wanted":
            return f"it is {text}"
        case "unfrozen":
            return f"it is {text}" if entry.hand else f"it is let go on: {text}"
        case "cluster-resumed":
            return f"the cluster is {text}" if entry.hand else f"the cluster goes on: {text}"
        case "drain" | "undrain":
            return f"{node} is {text}"
        case "request-done" | "request-failed" | "request-rejected":
            return f"what was asked for is {entry.kind.removeprefix('request-')}: {text.partition(': ')[2]}"
        case _:
            return text


def _refusals(entry: JournalEntry) -> str:
    refused = [one for one in entry.reason.candidates if one.refusal] if entry.reason else []
    said = [f"{one.node} {one.refusal}" for one in refused[:REFUSALS_TOLD]]
    more = f" and {len(refused) - REFUSALS_TOLD} more" if len(refused) > REFUSALS_TOLD else ""
    return f" (not: {'; '.join(said)}{more})" if said else ""
