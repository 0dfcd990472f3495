"""Lines of a story, by kinds of journal entries; that chapters are made by cause."""

from typing import Any

import pytest

from vmha.model.ids import CauseId, NodeName, VmName
from vmha.model.records import Candidate, JournalEntry, Reason
from vmha.policy.story import tell

WEB, H1, H2 = VmName("web"), NodeName("h1"), NodeName("h2")
LOST = CauseId("lost-h1-abcdef")


def entry(at: float, kind: str, text: str, **fields: Any) -> JournalEntry:
    given = {"vm": WEB, "node": H2, **fields}
    return JournalEntry(id=f"{at}-{kind}", at=at, by=H2, kind=kind, text=text, **given)


def of_h1(at: float, kind: str, text: str, **fields: Any) -> JournalEntry:
    return entry(at, kind, text, vm=None, node=H1, cause=LOST, **fields)


def test_loss_is_told_from_the_silence_on_with_its_fencing_and_the_time_that_it_took() -> None:
    refused = Reason(
        rule="lost-vm-is-recovered", text="", candidates=(Candidate(node=NodeName("h3"), refusal="is off"),)
    )
    (chapter,) = tell(
        [
            of_h1(13.0, "fencing", "h1 lost its lease", since=10.0),
            of_h1(14.0, "fenced", "power_off_confirmed: pdu said off", since=10.0),
            entry(14.1, "recover", "h1 is fenced; h2 is preferred", cause=LOST, reason=refused),
            entry(14.2, "claimed", "claimed by h2", cause=LOST),
            entry(14.8, "runs", "its guest runs on h2", cause=LOST),
        ],
        WEB,
    )
    assert [(line.at, line.text) for line in chapter.lines] == [
        (10.0, "h1 fell silent"),
        (13.0, "h1 is to be fenced: h1 lost its lease"),
        (14.0, "h1 was fenced by power off (pdu said off)"),
        (14.1, "web is recovered on h2, because h1 is fenced; h2 is preferred (not: h3 is off)"),
        (14.2, "h2 starts it, 4.2 s after the loss"),
        (14.8, "its guest runs on h2, 4.8 s after the loss"),
    ]
    assert chapter.lines[-1].after_loss_s == 4.8
    assert chapter.lines[3].rule == "lost-vm-is-recovered"


def test_what_concerns_others_is_not_told_and_a_cause_makes_a_chapter() -> None:
    told = tell(
        [
            entry(1.0, "assign", "it is wanted running", cause=CauseId("a")),
            entry(1.5, "assign", "of another", vm=VmName("db"), cause=CauseId("a")),
            of_h1(2.0, "fencing", "no vm of it was web", since=1.0),
            entry(3.0, "claimed", "claimed by h2", cause=CauseId("a")),
            entry(4.0, "guest-paused", "somebody paused it on h2"),
            entry(5.0, "guest-resumed", "it goes on at h2"),
        ],
        WEB,
    )
    assert [[line.kind for line in one.lines] for one in told] == [
        ["assign", "claimed"],
        ["guest-paused"],
        ["guest-resumed"],
    ]


def test_since_leaves_out_chapters_that_were_over_and_keeps_others_whole() -> None:
    entries = [
        entry(1.0, "assign", "x", cause=CauseId("a")),
        entry(2.0, "migrate", "y", cause=CauseId("b")),
        entry(4.0, "arrived", "z", cause=CauseId("b")),
    ]
    assert [one.cause for one in tell(entries, WEB, since=3.0)] == ["b"]
    assert [len(one.lines) for one in tell(entries, WEB, since=3.0)] == [2]
    assert tell(entries, WEB, since=5.0) == ()


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("note", "no node can take it", "web waits: no node can take it"),
        ("migrate", "h1 is drained", "web is to go to h2 live, because h1 is drained"),
        ("stop", "it is to be stopped", "web is to stop on h2, because it is to be stopped"),
        ("settled", "desired state is now stopped", "its desired state is now stopped"),
        ("request-failed", "017-1: it did not start", "what was asked for is failed: it did not start"),
        ("a-kind-of-a-later-version", "in its own words", "in its own words"),
    ],
)
def test_each_kind_is_a_sentence(kind: str, text: str, said: str) -> None:
    ((line,),) = (chapter.lines for chapter in tell([entry(1.0, kind, text)], WEB))
    assert line.text == said
