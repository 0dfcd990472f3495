"""Lines of a story, by kinds of journal entries; that chapters are made by cause."""

from typing import Any

import pytest

from vmha.model.ids import CauseId, NodeName, VmName
from vmha.model.records import Candidate, Hand, JournalEntry, Reason
from vmha.policy.telling.story import tell

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


def test_what_came_to_its_end_within_a_beat_of_the_loss_does_not_part_the_loss_from_what_follows() -> None:
    moved = CauseId("request-1")
    told = tell(
        [
            entry(9.5, "migrate", "asked for", cause=moved),
            entry(10.4, "arrived", "arrived by h1", cause=moved),
            of_h1(14.0, "fenced", "guard_elapsed: it is silent", since=10.0),
            entry(14.1, "claimed", "claimed by h2", cause=LOST),
        ],
        WEB,
    )
    assert [[(line.at, line.kind) for line in one.lines] for one in told] == [
        [(9.5, "migrate"), (10.4, "arrived")],
        [(10.4, "silent"), (14.0, "fenced"), (14.1, "claimed")],
    ]
    assert told[1].lines[-1].after_loss_s == 4.1


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
        (
            "unfrozen",
            "the time that ann gave it is over (2h)",
            "it is let go on: the time that ann gave it is over (2h)",
        ),
        ("wanted", "wanted stopped: stopped by ann", "it is wanted stopped: stopped by ann"),
        ("cluster-resumed", "the time is over", "the cluster goes on: the time is over"),
        ("a-kind-of-a-later-version", "in its own words", "in its own words"),
    ],
)
def test_each_kind_is_a_sentence(kind: str, text: str, said: str) -> None:
    ((line,),) = (chapter.lines for chapter in tell([entry(1.0, kind, text)], WEB))
    assert line.text == said


def drain(at: float, kind: str = "drain") -> JournalEntry:
    text = f"{kind}ed by ann"
    return entry(at, kind, text, vm=None, node=H1, cause=CauseId("drain-h1"), hand=Hand(author="ann"))


def test_drain_is_told_where_it_has_moved_the_vm_and_no_other_drain_of_that_node() -> None:
    left = entry(250.0, "migrate", "h1 is in maintenance", cause=CauseId("drain-h1"))
    told = tell([drain(100.0), drain(150.0, "undrain"), drain(200.0), left, drain(300.0, "undrain"), drain(400.0)], WEB)
    assert [line.text for chapter in told for line in chapter.lines] == [
        "h1 is drained by ann",
        "web is to go to h2 live, because h1 is in maintenance",
        "h1 is undrained by ann",
    ]
    assert len(told) == 1
    assert told[0].lines[0].hand == Hand(author="ann")
    assert tell([drain(200.0), left], VmName("db")) == ()


def test_drain_whose_beginning_has_expired_is_told_by_its_end() -> None:
    left = entry(250.0, "migrate", "h1 is in maintenance", cause=CauseId("drain-h1"))
    (chapter,) = tell([left, drain(300.0, "undrain"), drain(400.0)], WEB)
    assert [line.kind for line in chapter.lines] == ["migrate", "undrain"]


def test_drain_is_told_though_the_clock_of_who_asked_for_it_is_a_little_ahead() -> None:
    left = entry(199.8, "migrate", "h1 is in maintenance", cause=CauseId("drain-h1"))
    (chapter,) = tell([drain(200.0), left], WEB)
    assert {line.kind for line in chapter.lines} == {"drain", "migrate"}


def pause(at: float, kind: str, cause: str) -> JournalEntry:
    return entry(at, kind, f"{kind} by ann", vm=None, node=None, cause=CauseId(cause), hand=Hand(author="ann"))


def test_pause_is_told_where_the_vm_has_waited_for_its_end_and_what_came_of_that_follows() -> None:
    first, second = CauseId("pause-100"), CauseId("pause-300")
    waits = Reason(rule="the-cluster-is-paused", text="the cluster is paused by ann")
    pauses = [
        pause(100.0, "cluster-paused", first),
        pause(200.0, "cluster-resumed", first),
        pause(300.0, "cluster-paused", second),
        pause(400.0, "cluster-resumed", second),
    ]
    waited = entry(350.0, "note", "the cluster is paused by ann", cause=second, reason=waits)
    (chapter,) = tell([*pauses, waited, entry(400.1, "assign", "it is wanted running", cause=second)], WEB)
    assert [line.kind for line in chapter.lines] == ["cluster-paused", "note", "cluster-resumed", "assign"]
    lost = entry(150.0, "note", "the cluster is paused by ann", cause=LOST, reason=waits)
    kinds = [line.kind for one in tell([*pauses, lost], WEB) for line in one.lines]
    assert kinds == ["cluster-paused", "note", "cluster-resumed"]
    assert tell([*pauses, entry(50.0, "assign", "before", cause=CauseId("a"))], WEB)[0].lines[0].kind == "assign"
    assert len(tell([*pauses, entry(50.0, "assign", "before", cause=CauseId("a"))], WEB)) == 1
